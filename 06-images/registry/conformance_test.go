//go:build linux

package registry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The OCI distribution specification 1.1, clause by clause, as what a client
// sees. The clauses are in the order of the specification's four categories.
// They ask nothing that only this registry could know, so that others can be
// asked as well.
var clauses = []struct {
	name  string
	check func(s *scene)
}{
	{"base: GET /v2/ is 200", func(s *scene) { s.do("GET", "/v2/", nil).want(200) }},

	// 1. Pull.
	{"pull: HEAD of a blob", func(s *scene) {
		d := s.send("c/pull", "some blob")
		s.do("HEAD", "/v2/c/pull/blobs/"+d.String(), nil).want(200, "Content-Length", "9", "Docker-Content-Digest", d.String())
	}},
	{"pull: GET of a blob", func(s *scene) {
		d := s.send("c/pull", "some blob")
		if a := s.do("GET", "/v2/c/pull/blobs/"+d.String(), nil).want(200, "Content-Length", "9"); string(a.body) != "some blob" {
			s.t.Errorf("the blob is %q", a.body)
		}
	}},
	{"pull: GET of a part of a blob", func(s *scene) {
		d := s.send("c/pull", "some blob")
		for _, part := range []struct{ header, body, sent string }{
			{"bytes=1-3", "ome", "bytes 1-3/9"}, {"bytes=5-", "blob", "bytes 5-8/9"}, {"bytes=-2", "ob", "bytes 7-8/9"}, {"bytes=7-20", "ob", "bytes 7-8/9"},
		} {
			a := s.do("GET", "/v2/c/pull/blobs/"+d.String(), nil, "Range", part.header).want(206, "Content-Range", part.sent, "Content-Length", fmt.Sprint(len(part.body)))
			if string(a.body) != part.body {
				s.t.Errorf("%s: %q, want %q", part.header, a.body, part.body)
			}
		}
	}},
	{"pull: a part that no blob has is 416", func(s *scene) {
		d := s.send("c/pull", "some blob")
		for _, part := range []string{"bytes=9-", "bytes=100-200", "bytes=5-0"} {
			s.do("GET", "/v2/c/pull/blobs/"+d.String(), nil, "Range", part).want(416)
		}
	}},
	{"pull: HEAD of a blob that is not there is 404", func(s *scene) { s.do("HEAD", "/v2/c/pull/blobs/"+nowhere, nil).want(404) }},
	{"pull: GET of a blob that is not there is 404 BLOB_UNKNOWN", func(s *scene) { s.do("GET", "/v2/c/pull/blobs/"+nowhere, nil).code(404, "BLOB_UNKNOWN") }},
	{"pull: a blob of another repository is 404", func(s *scene) {
		d := s.send("c/pull", "some blob")
		s.do("GET", "/v2/c/strange/blobs/"+d.String(), nil).want(404)
	}},
	{"pull: a digest that is none is 400 or 404", func(s *scene) { s.do("GET", "/v2/c/pull/blobs/sha256:short", nil).one(400, 404) }},
	{"pull: HEAD of a manifest by tag and digest", func(s *scene) {
		desc, raw := s.simple("c/pull", "head")
		for _, id := range []string{"head", desc.Digest.String()} {
			s.do("HEAD", "/v2/c/pull/manifests/"+id, nil, "Accept", desc.MediaType).
				want(200, "Content-Length", fmt.Sprint(len(raw)), "Content-Type", desc.MediaType, "Docker-Content-Digest", desc.Digest.String())
		}
	}},
	{"pull: GET of a manifest by tag and digest", func(s *scene) {
		desc, raw := s.simple("c/pull", "get")
		for _, id := range []string{"get", desc.Digest.String()} {
			a := s.do("GET", "/v2/c/pull/manifests/"+id, nil, "Accept", desc.MediaType).want(200, "Content-Type", desc.MediaType, "Docker-Content-Digest", desc.Digest.String())
			if string(a.body) != string(raw) {
				s.t.Errorf("%s: not the bytes that were pushed", id)
			}
		}
	}},
	{"pull: HEAD of a manifest that is not there is 404", func(s *scene) {
		s.do("HEAD", "/v2/c/pull/manifests/none", nil).want(404)
		s.do("HEAD", "/v2/c/pull/manifests/"+nowhere, nil).want(404)
	}},
	{"pull: GET of a manifest that is not there is 404 MANIFEST_UNKNOWN", func(s *scene) {
		s.simple("c/pull", "some") // or the whole name would not be known
		s.do("GET", "/v2/c/pull/manifests/none", nil).code(404, "MANIFEST_UNKNOWN")
		s.do("GET", "/v2/c/pull/manifests/"+nowhere, nil).code(404, "MANIFEST_UNKNOWN")
	}},
	{"pull: a tag that cannot be one is 404", func(s *scene) { s.do("GET", "/v2/c/pull/manifests/.INVALID_MANIFEST_NAME", nil).want(404) }},
	{"pull: no image in a repository that is not there", func(s *scene) { s.do("GET", "/v2/nobody/has/this/manifests/1", nil).want(404) }},
	{"pull: a name that cannot be one is refused", func(s *scene) { s.do("GET", "/v2/Not/a_/NAME/manifests/1", nil).one(400, 404) }},
	{"pull: blobs by sha512", func(s *scene) {
		d := digest.SHA512.FromString("long digest")
		s.do("PUT", withDigest(s.upload("c/512"), d), []byte("long digest")).want(201)
		s.do("GET", "/v2/c/512/blobs/"+d.String(), nil).want(200)
	}},
	{"pull: manifests by sha512", func(s *scene) {
		m := s.document("c/512", "of a long digest")
		d := digest.SHA512.FromBytes(m)
		s.do("PUT", "/v2/c/512/manifests/"+d.String(), m, "Content-Type", ocispec.MediaTypeImageManifest).want(201)
		s.do("GET", "/v2/c/512/manifests/"+d.String(), nil, "Accept", ocispec.MediaTypeImageManifest).want(200)
	}},

	// 2. Push: blobs.
	{"push: POST, then PUT", func(s *scene) {
		d := digest.FromString("post, put")
		location := s.do("POST", "/v2/c/push/blobs/uploads/", nil).want(202).location()
		a := s.do("PUT", withDigest(location, d), []byte("post, put"), "Content-Type", "application/octet-stream").want(201)
		s.holds(a.location(), "post, put")
	}},
	{"push: the place of an upload has a UUID", func(s *scene) {
		if location := s.upload("c/push"); !regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).MatchString(location) {
			s.t.Errorf("it is %s", location)
		}
	}},
	{"push: all in one POST", func(s *scene) {
		d := digest.FromString("one post")
		a := s.do("POST", "/v2/c/push/blobs/uploads/?digest="+d.String(), []byte("one post"), "Content-Type", "application/octet-stream").want(201)
		s.holds(a.location(), "one post")
	}},
	{"push: a stream", func(s *scene) {
		d := digest.FromString("a stream")
		location := s.do("PATCH", s.upload("c/push"), []byte("a stream"), "Content-Type", "application/octet-stream").want(202).location()
		s.holds(s.do("PUT", withDigest(location, d), nil).want(201).location(), "a stream")
	}},
	{"push: in chunks, and an empty PUT", func(s *scene) {
		a := s.do("PATCH", s.upload("c/push"), []byte("01234"), "Content-Range", "0-4").want(202, "Range", "0-4")
		a = s.do("PATCH", a.location(), []byte("567"), "Content-Range", "5-7").want(202, "Range", "0-7")
		s.holds(s.do("PUT", withDigest(a.location(), digest.FromString("01234567")), nil).want(201).location(), "01234567")
	}},
	{"push: in chunks, the last one with the PUT", func(s *scene) {
		a := s.do("PATCH", s.upload("c/push"), []byte("abcde"), "Content-Range", "0-4").want(202)
		a = s.do("PUT", withDigest(a.location(), digest.FromString("abcdefgh")), []byte("fgh"), "Content-Range", "5-7").want(201)
		s.holds(a.location(), "abcdefgh")
	}},
	{"push: a first chunk that is not the first is 416", func(s *scene) {
		s.do("PATCH", s.upload("c/push"), []byte("567"), "Content-Range", "5-7").want(416)
	}},
	{"push: a chunk that came already is 416", func(s *scene) {
		a := s.do("PATCH", s.upload("c/push"), []byte("01234"), "Content-Range", "0-4").want(202)
		s.do("PATCH", a.location(), []byte("01234"), "Content-Range", "0-4").want(416)
	}},
	{"push: a chunk after a gap is 416", func(s *scene) {
		a := s.do("PATCH", s.upload("c/push"), []byte("01234"), "Content-Range", "0-4").want(202)
		s.do("PATCH", a.location(), []byte("89"), "Content-Range", "8-9").want(416)
	}},
	{"push: a PUT with a chunk after a gap is 416", func(s *scene) {
		a := s.do("PATCH", s.upload("c/push"), []byte("01234"), "Content-Range", "0-4").want(202)
		s.do("PUT", withDigest(a.location(), digest.FromString("0123489")), []byte("89"), "Content-Range", "8-9").want(416)
	}},
	{"push: the status of an upload", func(s *scene) {
		a := s.do("PATCH", s.upload("c/push"), []byte("01234"), "Content-Range", "0-4").want(202)
		s.do("GET", a.location(), nil).want(204, "Range", "0-4").location()
	}},
	{"push: after a 416 the upload goes on where it was", func(s *scene) {
		location := s.do("PATCH", s.upload("c/push"), []byte("01234"), "Content-Range", "0-4").want(202).location()
		s.do("PATCH", location, []byte("89"), "Content-Range", "8-9").want(416)
		location = s.do("GET", location, nil).want(204, "Range", "0-4").location()
		location = s.do("PATCH", location, []byte("56"), "Content-Range", "5-6").want(202).location()
		s.do("PUT", withDigest(location, digest.FromString("0123456")), nil).want(201)
	}},
	{"push: a wrong digest is 400 DIGEST_INVALID, by POST", func(s *scene) {
		s.do("POST", "/v2/c/push/blobs/uploads/?digest="+nowhere, []byte("x")).code(400, "DIGEST_INVALID")
	}},
	{"push: a wrong digest is 400 DIGEST_INVALID, by PUT", func(s *scene) {
		s.do("PUT", withDigest(s.upload("c/push"), nowhere), []byte("x")).code(400, "DIGEST_INVALID")
	}},
	{"push: a wrong digest is 400 DIGEST_INVALID, in chunks", func(s *scene) {
		a := s.do("PATCH", s.upload("c/push"), []byte("x"), "Content-Range", "0-0").want(202)
		s.do("PUT", withDigest(a.location(), nowhere), nil).code(400, "DIGEST_INVALID")
	}},
	{"push: no digest is 400", func(s *scene) { s.do("PUT", s.upload("c/push"), []byte("x")).code(400, "DIGEST_INVALID") }},
	{"push: a digest that is none is 400", func(s *scene) {
		s.do("PUT", withDigest(s.upload("c/push"), "sha256:totallywrong"), []byte("x")).code(400, "DIGEST_INVALID")
	}},
	{"push: what was not taken is not there", func(s *scene) {
		d := digest.FromString("never came whole")
		s.do("PUT", withDigest(s.upload("c/push"), d), []byte("never came")).want(400)
		s.do("GET", "/v2/c/push/blobs/"+d.String(), nil).want(404)
	}},
	{"push: an upload is cancelled", func(s *scene) {
		location := s.upload("c/push")
		s.do("DELETE", location, nil).want(204)
		s.do("GET", location, nil).code(404, "BLOB_UPLOAD_UNKNOWN")
	}},
	{"push: an upload that nobody began is 404", func(s *scene) {
		s.do("PATCH", "/v2/c/push/blobs/uploads/01234567-89ab-4cde-8f01-23456789abcd", []byte("x")).code(404, "BLOB_UPLOAD_UNKNOWN")
	}},
	{"push: an empty blob", func(s *scene) {
		d := digest.FromString("")
		s.do("PUT", withDigest(s.upload("c/push"), d), nil).want(201)
		s.do("HEAD", "/v2/c/push/blobs/"+d.String(), nil).want(200, "Content-Length", "0")
	}},
	{"push: the same blob again", func(s *scene) { s.send("c/push", "twice"); s.send("c/push", "twice") }},
	{"push: mount from another repository", func(s *scene) {
		d := s.send("c/push", "to be mounted")
		location := s.do("POST", "/v2/c/mount/blobs/uploads/?mount="+d.String()+"&from=c/push", nil).want(201).location()
		if !strings.Contains(location, "/v2/c/mount/") {
			s.t.Errorf("it is at %s, which is not where it was mounted to", location)
		}
		s.holds(location, "to be mounted")
	}},
	{"push: mount without saying from where", func(s *scene) {
		d := s.send("c/push", "to be found")
		s.holds(s.do("POST", "/v2/c/mount/blobs/uploads/?mount="+d.String(), nil).want(201).location(), "to be found")
	}},
	{"push: a mount of nothing is an upload", func(s *scene) {
		location := s.do("POST", "/v2/c/mount/blobs/uploads/?mount="+nowhere+"&from=c/push", nil).want(202).location()
		s.do("PUT", withDigest(location, digest.FromString("then by hand")), []byte("then by hand")).want(201)
	}},

	// 2. Push: manifests.
	{"push: a manifest by tag", func(s *scene) {
		m := s.document("c/man", "by tag")
		a := s.do("PUT", "/v2/c/man/manifests/tag", m, "Content-Type", ocispec.MediaTypeImageManifest).want(201, "Docker-Content-Digest", digest.FromBytes(m).String())
		s.holds(a.location(), string(m))
	}},
	{"push: a manifest by digest", func(s *scene) {
		m := s.document("c/man", "by digest")
		a := s.do("PUT", "/v2/c/man/manifests/"+digest.FromBytes(m).String(), m, "Content-Type", ocispec.MediaTypeImageManifest).want(201)
		s.holds(a.location(), string(m))
	}},
	{"push: a tag moves", func(s *scene) {
		s.simple("c/man", "moves")
		m := s.document("c/man", "moved")
		s.do("PUT", "/v2/c/man/manifests/moves", m, "Content-Type", ocispec.MediaTypeImageManifest).want(201)
		s.do("HEAD", "/v2/c/man/manifests/moves", nil, "Accept", ocispec.MediaTypeImageManifest).want(200, "Docker-Content-Digest", digest.FromBytes(m).String())
	}},
	{"push: a manifest without layers", func(s *scene) {
		m := s.manifest("c/man", "bare")
		m.Layers = []ocispec.Descriptor{}
		s.takes("c/man", m.MediaType, m)
	}},
	{"push: an artifact", func(s *scene) {
		m := s.manifest("c/man", "artifact")
		m.ArtifactType, m.Config.MediaType, m.Layers[0].MediaType = "application/x.thing", ocispec.MediaTypeEmptyJSON, "application/x.part"
		s.takes("c/man", m.MediaType, m)
	}},
	{"push: fields that nobody knows stay", func(s *scene) {
		m := s.document("c/man", "fields")
		m = []byte(strings.Replace(string(m), "{", `{"org.example.unknown":{"a": [1,2]},`, 1))
		a := s.do("PUT", "/v2/c/man/manifests/fields", m, "Content-Type", ocispec.MediaTypeImageManifest).want(201)
		s.holds(a.location(), string(m))
	}},
	{"push: a descriptor that has the data", func(s *scene) {
		m := s.manifest("c/man", "data")
		m.Config.Data = []byte("data")
		s.takes("c/man", m.MediaType, m)
	}},
	{"push: layers that are elsewhere", func(s *scene) {
		m := s.manifest("c/man", "foreign")
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Digest: nowhere, Size: 123, URLs: []string{"https://store.example.com/blob"}})
		s.takes("c/man", m.MediaType, m)
	}},
	{"push: a manifest of nearly 4 MiB", func(s *scene) {
		m := s.manifest("c/man", "large")
		m.Annotations = map[string]string{"large": strings.Repeat("A", 3_900_000)}
		s.takes("c/man", m.MediaType, m)
	}},
	{"push: a larger manifest is 413", func(s *scene) {
		m := s.manifest("c/man", "too large")
		m.Annotations = map[string]string{"large": strings.Repeat("A", 5<<20)}
		raw, _ := json.Marshal(m)
		s.do("PUT", "/v2/c/man/manifests/too-large", raw, "Content-Type", m.MediaType).want(413)
	}},
	{"push: an index", func(s *scene) {
		desc, _ := s.simple("c/man", "")
		s.takes("c/man", ocispec.MediaTypeImageIndex, indexOf(desc))
	}},
	{"push: an index of indexes", func(s *scene) {
		desc, _ := s.simple("c/man", "")
		inner := s.takes("c/man", ocispec.MediaTypeImageIndex, indexOf(desc))
		s.takes("c/man", ocispec.MediaTypeImageIndex, indexOf(inner))
	}},
	{"push: an empty index", func(s *scene) { s.takes("c/man", ocispec.MediaTypeImageIndex, indexOf()) }},
	{"push: a manifest that is not its digest is 400", func(s *scene) {
		m := s.document("c/man", "other")
		s.do("PUT", "/v2/c/man/manifests/"+nowhere, m, "Content-Type", ocispec.MediaTypeImageManifest).code(400, "DIGEST_INVALID")
	}},
	{"push: a manifest by a digest that is none is 400", func(s *scene) {
		a := s.do("PUT", "/v2/c/man/manifests/sha256:totallywrong", s.document("c/man", "other"), "Content-Type", ocispec.MediaTypeImageManifest).want(400)
		a.code(400, "DIGEST_INVALID")
	}},
	{"push: a manifest whose blob is not there is refused", func(s *scene) {
		m := s.manifest("c/man", "lacks")
		m.Layers[0].Digest = nowhere
		raw, _ := json.Marshal(m)
		a := s.do("PUT", "/v2/c/man/manifests/lacks", raw, "Content-Type", m.MediaType).one(400, 404)
		a.code(a.status, "MANIFEST_BLOB_UNKNOWN")
	}},
	{"push: what is no manifest is 400 MANIFEST_INVALID", func(s *scene) {
		s.do("PUT", "/v2/c/man/manifests/none", []byte("{"), "Content-Type", ocispec.MediaTypeImageManifest).code(400, "MANIFEST_INVALID")
	}},
	{"push: OCI-Subject names the subject of a manifest", func(s *scene) {
		subject, _ := s.simple("c/ref", "subject")
		m := s.manifest("c/ref", "says")
		m.Subject = &subject
		raw, _ := json.Marshal(m)
		s.do("PUT", "/v2/c/ref/manifests/"+digest.FromBytes(raw).String(), raw, "Content-Type", m.MediaType).want(201, "OCI-Subject", subject.Digest.String())
	}},
	{"push: OCI-Subject names the subject of an index", func(s *scene) {
		subject, _ := s.simple("c/ref", "subject")
		i := indexOf()
		i.Subject = &subject
		raw, _ := json.Marshal(i)
		s.do("PUT", "/v2/c/ref/manifests/"+digest.FromBytes(raw).String(), raw, "Content-Type", i.MediaType).want(201, "OCI-Subject", subject.Digest.String())
	}},
	{"push: a subject may come later", func(s *scene) {
		m := s.manifest("c/ref", "early")
		m.Subject = &ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromString("late"), Size: 4}
		s.takes("c/ref", m.MediaType, m)
	}},

	// 3. Content discovery.
	{"discovery: tags in lexical order", func(s *scene) {
		s.tagged("c/tags")
		if got := s.do("GET", "/v2/c/tags/tags/list", nil).want(200).tagsOf("c/tags"); got != "B a b1 b10 b2" {
			s.t.Errorf("%q", got)
		}
	}},
	{"discovery: n tags", func(s *scene) {
		s.tagged("c/tags")
		for n, want := range map[int]string{0: "", 1: "B", 3: "B a b1", 100: "B a b1 b10 b2"} {
			if got := s.do("GET", fmt.Sprintf("/v2/c/tags/tags/list?n=%d", n), nil).want(200).tagsOf("c/tags"); got != want {
				s.t.Errorf("n=%d: %q, want %q", n, got, want)
			}
		}
	}},
	{"discovery: tags after the last", func(s *scene) {
		s.tagged("c/tags")
		for last, want := range map[string]string{"a": "b1 b10 b2", "b11": "b2", "b2": ""} {
			if got := s.do("GET", "/v2/c/tags/tags/list?last="+last, nil).want(200).tagsOf("c/tags"); got != want {
				s.t.Errorf("last=%s: %q, want %q", last, got, want)
			}
		}
	}},
	{"discovery: page by page, by Link", func(s *scene) {
		s.tagged("c/tags")
		var all []string
		for next := "/v2/c/tags/tags/list?n=2"; next != ""; {
			a := s.do("GET", next, nil).want(200)
			all = append(all, a.tagsOf("c/tags"))
			next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
			if next != "" && !strings.HasSuffix(a.header.Get("Link"), `rel="next"`) || len(all) > 5 {
				s.t.Fatalf("Link: %s", a.header.Get("Link"))
			}
		}
		if got := strings.Join(all, "|"); got != "B a|b1 b10|b2" {
			s.t.Errorf("the pages are %q", got)
		}
	}},
	{"discovery: tags of a repository that is not there", func(s *scene) { s.do("GET", "/v2/nobody/has/this/tags/list", nil).code(404, "NAME_UNKNOWN") }},
	{"discovery: no referrers", func(s *scene) {
		if got := s.do("GET", "/v2/c/ref/referrers/"+nowhere, nil).want(200, "Content-Type", ocispec.MediaTypeImageIndex).index(); len(got) != 0 {
			s.t.Errorf("%v", got)
		}
	}},
	{"discovery: no referrers in a repository that is not there", func(s *scene) { s.do("GET", "/v2/nobody/has/this/referrers/"+nowhere, nil).want(200).index() }},
	{"discovery: referrers, with type and annotations", func(s *scene) {
		subject := s.referred("c/ref1")
		var got []string
		for _, desc := range s.do("GET", "/v2/c/ref1/referrers/"+subject.String(), nil).want(200, "Content-Type", ocispec.MediaTypeImageIndex).index() {
			got = append(got, desc.ArtifactType+" "+desc.Annotations["is"])
			s.do("GET", "/v2/c/ref1/manifests/"+desc.Digest.String(), nil, "Accept", desc.MediaType).want(200, "Content-Length", fmt.Sprint(desc.Size), "Content-Type", desc.MediaType)
		}
		slices.Sort(got)
		if want := []string{"application/x.config artifact by its config", "application/x.index an index", "application/x.one an artifact"}; !slices.Equal(got, want) {
			s.t.Errorf("%q, want %q", got, want)
		}
	}},
	{"discovery: referrers of one type", func(s *scene) {
		subject := s.referred("c/ref2")
		a := s.do("GET", "/v2/c/ref2/referrers/"+subject.String()+"?artifactType="+url.QueryEscape("application/x.one"), nil).want(200, "OCI-Filters-Applied", "artifactType")
		if got := a.index(); len(got) != 1 || got[0].ArtifactType != "application/x.one" {
			s.t.Errorf("%v", got)
		}
	}},
	{"discovery: referrers of what is not there", func(s *scene) {
		m := s.manifest("c/ref3", "orphan")
		m.Subject = &ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromString("gone"), Size: 4}
		desc := s.takes("c/ref3", m.MediaType, m)
		if got := s.do("GET", "/v2/c/ref3/referrers/"+digest.FromString("gone").String(), nil).want(200).index(); len(got) != 1 || got[0].Digest != desc.Digest {
			s.t.Errorf("%v", got)
		}
	}},
	{"discovery: referrers of a digest that is none is 400", func(s *scene) { s.do("GET", "/v2/c/ref/referrers/sha256:x", nil).want(400) }},
	{"discovery: a referrer that is deleted is not listed", func(s *scene) {
		subject := s.referred("c/ref4")
		list := s.do("GET", "/v2/c/ref4/referrers/"+subject.String(), nil).want(200).index()
		s.do("DELETE", "/v2/c/ref4/manifests/"+list[0].Digest.String(), nil).want(202)
		if got := s.do("GET", "/v2/c/ref4/referrers/"+subject.String(), nil).want(200).index(); len(got) != 2 {
			s.t.Errorf("%v", got)
		}
	}},

	// 4. Content management.
	{"management: DELETE of a tag leaves the manifest", func(s *scene) {
		desc, _ := s.simple("c/del", "one")
		s.simple("c/del", "two")
		s.do("DELETE", "/v2/c/del/manifests/one", nil).want(202)
		s.do("GET", "/v2/c/del/manifests/one", nil, "Accept", desc.MediaType).want(404)
		s.do("GET", "/v2/c/del/manifests/two", nil, "Accept", desc.MediaType).want(200)
		s.do("GET", "/v2/c/del/manifests/"+desc.Digest.String(), nil, "Accept", desc.MediaType).want(200)
	}},
	{"management: DELETE of a manifest takes its tags", func(s *scene) {
		desc, _ := s.simple("c/del", "three")
		s.do("DELETE", "/v2/c/del/manifests/"+desc.Digest.String(), nil).want(202)
		for _, id := range []string{"three", desc.Digest.String()} {
			s.do("GET", "/v2/c/del/manifests/"+id, nil, "Accept", desc.MediaType).code(404, "MANIFEST_UNKNOWN")
		}
		if strings.Contains(string(s.do("GET", "/v2/c/del/tags/list", nil).body), "three") {
			s.t.Errorf("the tag is still listed")
		}
	}},
	{"management: DELETE of a manifest that is not there is 404", func(s *scene) {
		s.simple("c/del", "some")
		s.do("DELETE", "/v2/c/del/manifests/"+nowhere, nil).want(404)
		s.do("DELETE", "/v2/c/del/manifests/none", nil).want(404)
	}},
	{"management: DELETE of a blob", func(s *scene) {
		d := s.send("c/del", "a blob to delete")
		s.do("DELETE", "/v2/c/del/blobs/"+d.String(), nil).want(202)
		s.do("HEAD", "/v2/c/del/blobs/"+d.String(), nil).want(404)
		s.do("GET", "/v2/c/del/blobs/"+d.String(), nil).code(404, "BLOB_UNKNOWN")
	}},
	{"management: DELETE of a blob that is not there is 404", func(s *scene) { s.do("DELETE", "/v2/c/del/blobs/"+nowhere, nil).want(404) }},
	{"management: a blob that another repository has stays there", func(s *scene) {
		d := s.send("c/del", "shared")
		s.send("c/keep", "shared")
		s.do("DELETE", "/v2/c/del/blobs/"+d.String(), nil).want(202)
		s.do("GET", "/v2/c/keep/blobs/"+d.String(), nil).want(200)
	}},
	{"management: what was deleted can come again", func(s *scene) {
		d := s.send("c/del", "again")
		s.do("DELETE", "/v2/c/del/blobs/"+d.String(), nil).want(202)
		s.send("c/del", "again")
		s.do("GET", "/v2/c/del/blobs/"+d.String(), nil).want(200)
	}},
}

// code fails unless the answer is an error with the status and the code.
func (a answer) code(status int, code string) {
	a.t.Helper()
	a.want(status)
	var body struct{ Errors []struct{ Code string } }
	if err := json.Unmarshal(a.body, &body); err != nil || len(body.Errors) == 0 || body.Errors[0].Code != code {
		a.t.Errorf("%s: %.200s, %v; want the error code %s", a.what, a.body, err, code)
	}
}

// one fails unless the answer has one of two statuses.
func (a answer) one(first, second int) answer {
	a.t.Helper()
	if a.status != first && a.status != second {
		a.t.Errorf("%s: status %d, want %d or %d", a.what, a.status, first, second)
	}
	return a
}

// withDigest adds the digest to an upload's location, which may have a query.
func withDigest(location string, d digest.Digest) string {
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	return location + sep + "digest=" + url.QueryEscape(d.String())
}

// holds fails unless a GET of the location gives the content.
func (s *scene) holds(location, content string) {
	s.t.Helper()
	a := s.do("GET", location, nil, "Accept", ocispec.MediaTypeImageManifest+", "+ocispec.MediaTypeImageIndex).want(200)
	if string(a.body) != content {
		s.t.Errorf("%s: %.100q, want %.100q", location, a.body, content)
	}
}

// send pushes a blob, in the way that all registries know.
func (s *scene) send(repository, content string) digest.Digest {
	s.t.Helper()
	d := digest.FromString(content)
	s.do("PUT", withDigest(s.upload(repository), d), []byte(content), "Content-Type", "application/octet-stream").want(201)
	return d
}

// manifest makes a manifest whose blobs are in the repository.
func (s *scene) manifest(repository, content string) ocispec.Manifest {
	s.t.Helper()
	return ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: s.send(repository, "{}"), Size: 2},
		Layers:    []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: s.send(repository, content), Size: int64(len(content))}},
	}
}

func (s *scene) document(repository, content string) []byte {
	s.t.Helper()
	raw, err := json.Marshal(s.manifest(repository, content))
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// simple pushes an image of one layer, under a tag or its digest.
func (s *scene) simple(repository, tag string) (ocispec.Descriptor, []byte) {
	s.t.Helper()
	raw := s.document(repository, "the layer of "+tag)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	s.do("PUT", "/v2/"+repository+"/manifests/"+cmp.Or(tag, desc.Digest.String()), raw, "Content-Type", desc.MediaType).want(201)
	return desc, raw
}

// takes pushes a document by its digest, and holds what is there against it.
func (s *scene) takes(repository, mediaType string, v any) ocispec.Descriptor {
	s.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	d := digest.FromBytes(raw)
	a := s.do("PUT", "/v2/"+repository+"/manifests/"+d.String(), raw, "Content-Type", mediaType).want(201)
	if a.status == 201 {
		s.holds(a.location(), string(raw))
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}
}

func indexOf(manifests ...ocispec.Descriptor) ocispec.Index {
	return ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: append([]ocispec.Descriptor{}, manifests...)}
}

func (s *scene) tagged(repository string) {
	s.t.Helper()
	for _, tag := range []string{"b10", "a", "b2", "B", "b1"} {
		s.simple(repository, tag)
	}
}

func (a answer) tagsOf(repository string) string {
	a.t.Helper()
	var body struct {
		Name string
		Tags []string
	}
	if err := json.Unmarshal(a.body, &body); err != nil || body.Name != repository {
		a.t.Errorf("%s: %s, %v", a.what, a.body, err)
	}
	return strings.Join(body.Tags, " ")
}

// referred pushes an image and three things that refer to it.
func (s *scene) referred(repository string) digest.Digest {
	s.t.Helper()
	subject, _ := s.simple(repository, "subject")
	one, config, index := s.manifest(repository, "one"), s.manifest(repository, "config"), indexOf()
	one.ArtifactType, one.Subject, one.Annotations = "application/x.one", &subject, map[string]string{"is": "an artifact"}
	config.Config.MediaType, config.Subject, config.Annotations = "application/x.config", &subject, map[string]string{"is": "artifact by its config"}
	index.ArtifactType, index.Subject, index.Annotations = "application/x.index", &subject, map[string]string{"is": "an index"}
	s.takes(repository, one.MediaType, one)
	s.takes(repository, config.MediaType, config)
	s.takes(repository, index.MediaType, index)
	return subject.Digest
}

func (a answer) index() []ocispec.Descriptor {
	a.t.Helper()
	var index ocispec.Index
	if err := json.Unmarshal(a.body, &index); err != nil || index.SchemaVersion != 2 || index.MediaType != ocispec.MediaTypeImageIndex || index.Manifests == nil {
		a.t.Errorf("%s: %.200s, %v; want an index", a.what, a.body, err)
	}
	return index.Manifests
}

func TestConformance(t *testing.T) {
	s := newScene(t, Options{})
	for _, clause := range clauses {
		t.Run(clause.name, func(t *testing.T) {
			s := *s
			s.t = t
			clause.check(&s)
		})
	}
}

// verdict is a testing.TB that remembers a failure, and is not one.
type verdict struct {
	testing.TB
	failed string
}

func (v *verdict) Errorf(format string, args ...any) {
	if v.failed == "" {
		v.failed, _, _ = strings.Cut(fmt.Sprintf(format, args...), "\n")
	}
}

func (v *verdict) Fatal(args ...any) { v.Fatalf("%s", fmt.Sprint(args...)) }

func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	panic(v)
}

// dockerRegistry starts Debian's registry and returns its address.
func dockerRegistry(t testing.TB) string {
	t.Helper()
	hosttest.Require(t, hosttest.Program("docker-registry"))
	dir := t.TempDir()
	address := "127.0.0.1:5987" // the tests have a network of their own
	config := filepath.Join(dir, "config.yml")
	yaml := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %q}\n", dir, address)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command("docker-registry", "serve", config)
	server.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // it says nothing when it listens
		resp, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			resp.Body.Close()
			return address
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// What the registry that everybody runs says to the same clauses: a look at the
// clauses rather than at it. Where it fails is what the specification of 1.1
// has brought or what is optional.
func TestConformanceOfDockerRegistry(t *testing.T) {
	host := dockerRegistry(t)
	passed := 0
	for _, clause := range clauses {
		v := &verdict{TB: t}
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(v) && v.failed == "" {
					v.failed = fmt.Sprint(p)
				}
			}()
			clause.check(&scene{t: v, url: "http://" + host})
		}()
		if v.failed == "" {
			passed++
		} else {
			t.Logf("%s: %s", clause.name, v.failed)
		}
	}
	t.Logf("docker-registry holds %d of %d clauses", passed, len(clauses))
	if passed < len(clauses)/2 {
		t.Errorf("docker-registry holds %d of %d clauses: are they what a registry does?", passed, len(clauses))
	}
}
