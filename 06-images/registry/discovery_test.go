//go:build linux

package registry

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tags returns the tags that an answer lists.
func (a answer) tags() string {
	a.t.Helper()
	var body struct {
		Name string
		Tags []string
	}
	if err := json.Unmarshal(a.body, &body); err != nil || body.Name != "a/b" || body.Tags == nil {
		a.t.Errorf("%s: %s, %v", a.what, a.body, err)
	}
	return strings.Join(body.Tags, " ")
}

// Category 3, content discovery: tags.
func TestTags(t *testing.T) {
	s := newScene(t, Options{})
	m := s.image("a/b")
	for _, tag := range []string{"b", "C", "a", "v1.10", "v1.9", "_x"} {
		s.put("a/b", tag, m.MediaType, m)
	}
	for _, tt := range []struct{ query, tags, link string }{
		{"", "C _x a b v1.10 v1.9", ""},
		{"?n=2", "C _x", `</v2/a/b/tags/list?last=_x&n=2>; rel="next"`},
		{"?n=2&last=_x", "a b", `</v2/a/b/tags/list?last=b&n=2>; rel="next"`},
		{"?n=2&last=b", "v1.10 v1.9", ""},
		{"?last=aa", "b v1.10 v1.9", ""},
		{"?last=zz", "", ""},
		{"?n=6", "C _x a b v1.10 v1.9", ""},
		{"?n=100", "C _x a b v1.10 v1.9", ""},
		{"?n=0", "", ""},
	} {
		a := s.do("GET", "/v2/a/b/tags/list"+tt.query, nil).want(200, "Content-Type", "application/json", "Link", tt.link)
		if got := a.tags(); got != tt.tags {
			t.Errorf("%s: %q, want %q", tt.query, got, tt.tags)
		}
	}
	s.do("GET", "/v2/a/b/tags/list?n=-1", nil).refused(400, "UNSUPPORTED")
	s.do("GET", "/v2/a/tags/list", nil).refused(404, "NAME_UNKNOWN") // there is only a/b
	s.do("GET", "/v2/nobody/tags/list", nil).refused(404, "NAME_UNKNOWN")
}

func (a answer) referrers() (types []string) {
	a.t.Helper()
	var index ocispec.Index
	if err := json.Unmarshal(a.body, &index); err != nil || index.SchemaVersion != 2 || index.MediaType != ocispec.MediaTypeImageIndex || index.Manifests == nil {
		a.t.Errorf("%s: %s, %v", a.what, a.body, err)
	}
	for _, m := range index.Manifests {
		types = append(types, m.ArtifactType)
		if m.Digest.Validate() != nil || m.Size == 0 || m.MediaType == "" {
			a.t.Errorf("%s: the descriptor %+v lacks something", a.what, m)
		}
	}
	slices.Sort(types)
	return types
}

// Category 3, content discovery: referrers.
func TestReferrers(t *testing.T) {
	s := newScene(t, Options{})
	m := s.image("a", "layer")
	subject, a := s.put("a", "v1", m.MediaType, m)
	a.want(201, "OCI-Subject", "")
	path := "/v2/a/referrers/" + subject.Digest.String()
	if got := s.do("GET", path, nil).want(200, "Content-Type", ocispec.MediaTypeImageIndex).referrers(); len(got) != 0 {
		t.Errorf("referrers of what nobody refers to: %v", got)
	}

	signature := s.image("a", "signature")
	signature.ArtifactType, signature.Subject, signature.Annotations = "application/x.signature", &subject, map[string]string{"by": "me"}
	desc, a := s.put("a", "", signature.MediaType, signature)
	a.want(201, "OCI-Subject", subject.Digest.String())
	list := s.image("a", "list") // no artifactType: the config's type stands for it
	list.Config.MediaType, list.Subject = "application/x.list", &subject
	_, a = s.put("a", "list", list.MediaType, list)
	a.want(201, "OCI-Subject", subject.Digest.String())
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: "application/x.index", Manifests: []ocispec.Descriptor{}, Subject: &subject}
	_, a = s.put("a", "", index.MediaType, index)
	a.want(201, "OCI-Subject", subject.Digest.String())

	a = s.do("GET", path, nil).want(200, "OCI-Filters-Applied", "")
	if got, want := a.referrers(), []string{"application/x.index", "application/x.list", "application/x.signature"}; !slices.Equal(got, want) {
		t.Errorf("referrers %v, want %v", got, want)
	}
	a = s.do("GET", path+"?artifactType=application/x.signature", nil).want(200, "OCI-Filters-Applied", "artifactType")
	if got := a.referrers(); !slices.Equal(got, []string{"application/x.signature"}) || !strings.Contains(string(a.body), `"by":"me"`) {
		t.Errorf("filtered: %s", a.body)
	}
	s.do("GET", path+"?artifactType=none", nil).want(200, "OCI-Filters-Applied", "artifactType").referrers()

	// The subject may come later, or never.
	early := s.image("a", "early")
	early.Subject = &ocispec.Descriptor{MediaType: m.MediaType, Digest: nowhere, Size: 1}
	s.put("a", "early", early.MediaType, early)
	if got := s.do("GET", "/v2/a/referrers/"+nowhere, nil).want(200).referrers(); len(got) != 1 {
		t.Errorf("referrers of a subject that is not here: %v", got)
	}
	s.do("GET", "/v2/a/referrers/sha256:x", nil).refused(400, "DIGEST_INVALID")
	if got := s.do("GET", "/v2/other/referrers/"+subject.Digest.String(), nil).want(200).referrers(); len(got) != 0 {
		t.Errorf("another repository's referrers: %v", got)
	}

	s.do("DELETE", "/v2/a/manifests/"+desc.Digest.String(), nil).want(202)
	if got := s.do("GET", path, nil).want(200).referrers(); len(got) != 2 {
		t.Errorf("referrers after one is deleted: %v", got)
	}
}
