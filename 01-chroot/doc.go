// Package chroot gives a process another root directory.
//
// [Needs] finds what a program cannot start without: its interpreter and its
// shared libraries. [Build] copies that, from the host's own files, into a
// directory. [Enter] makes the directory the process's root with chroot(2), and
// [Exec] replaces the process by the program, so that its exit status and the
// signals that it gets are the program's own.
//
// # Not safe
//
// A root directory is a name space for paths and nothing else. The program
// still sees the host's processes, network and users, and spends the host's
// memory. As root it is not even held in: cmd/breakout walks out with two
// system calls, as chroot(2) says that it may. [Pivot] closes that door; what
// it is made of is the subject of chapter 2.
//
// [Build] reads the tables that a linker wrote, and not what a program does
// when it runs: what it opens with dlopen(3), name service modules, locales
// and configuration are not found. $LD_LIBRARY_PATH and hardware-specific
// directories (glibc-hwcaps) are not looked at.
package chroot

import "drydock.example/01-chroot/explain"

const chapter explain.Chapter = 1
