//go:build linux

package bundletest

// tinyTrue is the smallest program: it ends with status 0. A Go program's own
// start would be most of what a benchmark measures.
var tinyTrue = elf(0xb7, []byte{
	0xa8, 0x0b, 0x80, 0xd2, // mov x8, SYS_exit
	0x00, 0x00, 0x80, 0xd2, // mov x0, 0
	0x01, 0x00, 0x00, 0xd4, // svc 0
})
