// Package images makes the root file system of a container out of what a
// registry holds, and remembers it.
//
// An image is three kinds of documents that name each other by digest. A
// manifest lists one config and some layers; the config says how to run a
// program in the image, and which diff ID, the digest of the uncompressed tar,
// each layer has; an index offers one manifest per platform. Whoever knows the
// digest of the first document can check every byte of the rest. A tag is the
// only part that may move, and it is read once per pull.
//
// The files follow a pull:
//
//	reference.go  a name, and what it means when parts of it are silent
//	registry.go   the distribution protocol: manifests and blobs over HTTP
//	registries.go how a registry is reached: mirrors, certificates, no TLS (transport.go: proxies)
//	auth.go       who we are, when the registry asks (credentials.go: where that is written)
//	manifest.go   manifest, index and config: read, checked, limited
//	platform.go   which manifest of an index fits this machine
//	pull.go       resolve, manifest, config, layers: the algorithm
//	blob.go       a blob, over as many connections as it takes (retry.go: when it is worth another)
//	layer.go      one layer: network, digest, decompression, diff ID, disk, in one pass
//	flight.go     two pulls at once fetch once
//	content.go    blobs on disk, complete or absent
//	store.go      images and names (bbolt)
//	create.go     an image that was made here
//	remove.go     what goes when a name goes (prune.go: what nobody wants)
//	save.go       images in a tar, as Docker and OCI have them (load.go: and back; layout.go: in a directory)
//	flat.go       a root file system in a tar: import and export
//	history.go    by which steps an image was made (tree.go: what images share)
//	push.go       a pull backwards, of what the registry lacks (upload.go: one blob)
//	copy.go       from one registry to another, nothing unpacked
//	referrers.go  what refers to an image (artifact.go: what is no image)
//	progress.go   lines for a person
//
// The other side, a registry, is package registry.
//
// [Store] keeps three things under its directory and in its database. content/
// has every blob as it came from the registry, compressed; layers/ has every
// layer unpacked, for overlay mounts (chapter 4); the database says which image
// needs which of them. An image in the database is complete: all its blobs and
// all its layers are there. What is on disk without an image is the useful rest
// of a pull that was cut short, and goes with the next [Store.Remove].
//
// The compressed blobs are kept although a container never reads them. They
// cost a third of the disk again, and buy that an image leaves as it came: push
// and save send the very bytes that the manifest names, where an engine that
// has only the unpacked files must build a tar again, compress it, and ends
// with other digests. A pull that was killed finds what it had, and a layer
// that was lost is unpacked again without a network.
//
// What is not safe here. A digest says that the bytes are those that the
// manifest names, not that their author means well: nothing checks signatures.
// A tag is whatever the registry says today; name an image by digest where that
// matters. A registry on a loopback address, or one that the caller declares
// insecure, is spoken to in plain text when it does not speak TLS, and whoever
// sits between can then answer for it. A layer may become as large as the disk
// has room, and no larger. The database file excludes a second process, but the
// directory is not guarded against a root user who edits it: a blob is checked
// when it arrives and not each time it is used.
package images

import "drydock.example/01-chroot/explain"

// chapter marks the records of this package in what --explain shows.
const chapter explain.Chapter = 6
