// Package overlayfs makes a root out of layers.
//
// A layer is a directory that says how a tree differs from the one below it.
// The kernel's overlay file system shows a stack of them as one tree, without
// copying: a name is looked up from the top, and the first layer that has it
// wins. What is written goes into one more directory, upper; a file of a lower
// layer is copied there before its first change. So a container that is made
// takes no disk until it writes, and a hundred containers share one image.
//
// Two things in a layer mean that something is not there. A character device
// 0:0, a whiteout, hides its name; the attribute trusted.overlay.opaque on a
// directory hides all that the layers below have in it. In a layer's archive
// they are the empty files .wh.NAME and .wh..wh..opq.
//
// [Unpack] turns an archive into such a directory, and [Diff] an upper
// directory into an archive: each undoes the other. [Store] keeps the layers of
// images, each once, by the digest of its archive (diff ID); a layer is under
// its name when it is whole and on the disk, or not at all. [Store.Lower] and
// [Mount] make the tree, [Changes] lists what a container has done to it.
//
// Archives come from anywhere. No path in one is resolved from the host's root:
// each parent directory is opened by openat2(2) with RESOLVE_IN_ROOT, as if the
// layer were the root, and everything else is done with one name, relative to
// that descriptor. Symbolic links, "..", hard links and whiteouts end inside.
//
// Root of a user namespace will do (Linux 5.11): the marks are called
// user.overlay.* there. [Owners] is for layers of containers whose users have
// other numbers on the host.
//
// # What is not safe
//
//   - A layer holds set-user-ID programs and device nodes, as its author
//     wanted. The store's directory is root's alone (0700), and only chapter 2's
//     capabilities and chapter 3's device rules keep a container from using them.
//   - An archive is limited by the free space when its unpacking begins, by
//     10,000,000 entries, and by 512 directories in each other; its sparse
//     files, by the file system's size. It may still fill what is free of the
//     disk, and take the minutes that its holes are long. Nothing of it remains
//     then.
//   - [Store.Remove] does not know who uses a layer: chapter 6 does.
//   - Do not change a layer, or upper from outside, while it is mounted: the
//     kernel says that the merged view is undefined then.
//   - A diff of a running container is a picture of no single moment.
//   - A mount with "volatile" may leave upper damaged when the machine crashes.
//
// Linux 5.8 or newer is needed, and root of the host or of a user namespace.
package overlayfs
