// Package registry is the other side of a push and a pull: a server of the OCI
// distribution specification 1.1, with all four of its categories (pull, push,
// content discovery, content management).
//
// The files follow the specification:
//
//	registry.go    which request goes where, and what an error looks like
//	blobs.go       blobs, whole or in part (end-2, end-10)
//	uploads.go     how a blob arrives: at once, in chunks, or from a neighbour (end-4, 5, 6, 11, 13, 14)
//	manifests.go   manifests by tag and by digest (end-3, end-7, end-9)
//	tags.go        the list of tags, page by page (end-8)
//	referrers.go   who speaks about a manifest: signatures, bills of material (end-12)
//	repository.go  what is kept on disk, and how
//	collect.go     what nobody refers to goes
//	mirror.go      a cache of another registry
//
// Everything is a file, and can be looked at with ls and cat:
//
//	blobs/sha256/HEX                                  the bytes, once for all repositories
//	repositories/NAME/_blobs/sha256/HEX               empty: the repository has this blob
//	repositories/NAME/_manifests/sha256/HEX           the media type: the blob is a manifest here
//	repositories/NAME/_tags/TAG                       the digest of a manifest
//	repositories/NAME/_referrers/sha256/HEX/sha256:…  a descriptor, below the subject that it names
//	repositories/NAME/_uploads/ID                     what has arrived of a blob
//
// No part of a repository's name begins with "_", so the two kinds of
// directories never meet. A file appears by rename when it is complete and on
// disk; an upload grows in place, is on disk before the client hears so, and is
// found again after a restart.
//
// What is not safe here. Whoever can reach the registry may read, write and
// delete everything: package htpasswd asks for a password, and nothing knows of
// rights per repository. A blob is checked when it arrives, and not when it is
// sent; the client checks it then.
package registry

import "drydock.example/01-chroot/explain"

// chapter marks the records of this package in what --explain shows.
const chapter explain.Chapter = 6
