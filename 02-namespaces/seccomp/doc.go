// Package seccomp compiles the system call filter of an OCI config
// (linux.seccomp, config-linux.md of runtime-spec) to the program that
// seccomp(2) takes: classic BPF, which the kernel runs at each system call of
// a container, before it looks at the call itself.
//
// The program sees one struct seccomp_data: the number of the call, the
// architecture by whose numbers it was made, and six arguments. It cannot
// follow a pointer. It answers with an action: allow, fail with an errno, kill.
//
// # From rules to a program
//
// The architecture is looked at first, because a number means nothing without
// it: 59 is execve for a 64-bit program and oldolduname for a 32-bit one of
// the same machine. An architecture that the profile does not list is killed,
// except the machine's own, which is always there.
//
// A list of "is it number 0? is it number 1?" would ask hundreds of questions.
// Instead the numbers become ranges with the same answer, and a binary search
// finds the range: some seven questions for the profile that engines use by
// default. Only a call whose rules look at arguments asks more. The arguments
// have 64 bits and the machine that runs the program has 32: each comparison
// is made of two.
//
// # Rules that meet
//
// A syscalls entry with arguments holds when all of its arguments do; entries
// for the same call are alternatives, and the first that holds decides. Four
// customs are kept because profiles rely on them:
//
//   - an entry without arguments stands above all entries with arguments for
//     the same call (libseccomp);
//   - an entry that names the same argument twice is as many entries (runc, crun);
//   - arguments of 32-bit programs have 32 bits (libseccomp);
//   - a name that is unknown here is left out (runc): profiles name the calls of
//     many kernels and architectures.
//
// # Calls that are newer than the profile
//
// A C library tries the newest call first and falls back to an older one when
// the kernel answers ENOSYS, "no such call". A profile written before the call
// existed would answer EPERM, by its default action, and the library would
// believe it: programs break that a plain old kernel runs well (faccessat2 and
// clone3 have done so). So a call with a number above the highest that the
// profile names gets ENOSYS, as from a kernel of the profile's age, where the
// default action denies.
//
// # What is not safe
//
//   - A filter judges numbers, not files: what a pointer leads to can change after
//     the filter has seen it, so paths and structures cannot be judged at all.
//   - socketcall(2) and ipc(2), which 32-bit x86 programs may use, hide the
//     real call behind a number in an argument or its arguments behind a
//     pointer: they are calls of their own here, and a profile that allows them
//     allows what is behind them.
//   - SCMP_ACT_TRACE and SCMP_ACT_NOTIFY are as good as the tracer that answers.
package seccomp

//go:generate go run ./internal/table
