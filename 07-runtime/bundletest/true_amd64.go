//go:build linux

package bundletest

// tinyTrue is the smallest program: it ends with status 0. A Go program's own
// start would be most of what a benchmark measures.
var tinyTrue = elf(0x3e, []byte{
	0xb8, 60, 0, 0, 0, // mov eax, SYS_exit
	0x31, 0xff, // xor edi, edi
	0x0f, 0x05, // syscall
})
