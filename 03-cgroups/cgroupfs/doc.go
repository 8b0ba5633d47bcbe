// Package cgroupfs is the file system through which the kernel is told about
// cgroups: where its hierarchies are mounted, where this process stands in
// them, and how a value is written and read. It knows no controller; packages
// v1 and v2 do.
//
// A control file is not a file on a disk. One write(2) is one request, which
// the kernel accepts or refuses as a whole, so a value is never written in two
// parts, never truncated first, and an error of write(2) is the kernel's
// verdict on the value. The package hands that verdict on in the kernel's own
// words: "write 5 to /sys/fs/cgroup/box/cpu.max: invalid argument".
//
// It is not safe against a path made of parts that a user chose: [Clean] is
// what makes such a path harmless, and must come first.
package cgroupfs
