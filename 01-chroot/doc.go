// Package chroot gives a process another root directory.
//
// [Needs] finds what a program cannot start without: its interpreter and its
// shared libraries; [NameService] what it opens later to look up users and hosts.
// [Build] and [Copy] bring that, from the host's own files, into a directory. [Enter] makes the directory the process's root with chroot(2), and
// [Exec] replaces the process by the program, so that its exit status and the
// signals that it gets are the program's own.
//
// # Not safe
//
// A root directory is a name space for paths and nothing else. The program
// still sees the host's processes, network and users, and spends the host's
// memory. As root it is not even held in: cmd/breakout walks out in three ways,
// one of which chroot(2) itself describes. [Pivot] takes away the place to walk
// to, [DropCapabilities] the right to leave; neither hides the host's processes.
//
// [Build] reads the tables that a linker wrote, and not what a program does
// when it runs: what it opens with dlopen(3), locales and configuration are not
// found, and are for [Copy]. $LD_LIBRARY_PATH and hardware-specific
// directories (glibc-hwcaps) are not looked at.
package chroot

import "drydock.example/01-chroot/explain"

const chapter explain.Chapter = 1
