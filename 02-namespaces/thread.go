//go:build linux

package namespaces

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onOwnThread runs work on a thread that nothing else uses, and returns its
// error. What setns(2) and unshare(2) do to a thread cannot be taken back in
// every case, so the thread ends when until is closed, and not before: a death
// signal (prctl(2), PR_SET_PDEATHSIG) is sent when the thread that made the
// child dies, not when its process does.
func onOwnThread(until <-chan struct{}, work func() error) error {
	done := make(chan error)
	run := func() {
		err := work()
		done <- err
		if err == nil {
			<-until
		}
	}
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			run()
			return
		}
		// The main thread cannot end, and what it does to itself shows in
		// /proc/self as if all did. While it is held here, run gets another.
		defer runtime.UnlockOSThread()
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			run()
		}()
		<-locked
	}()
	return <-done
}
