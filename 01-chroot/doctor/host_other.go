//go:build !linux

package doctor

import (
	"context"
	"runtime"
)

// Host returns chapter 1's checks. Where the kernel is not Linux there is one
// thing to say.
func Host() []Check {
	return []Check{{chapter, "kernel", "everything", func(context.Context) Result { return noLinux(runtime.GOOS) }}}
}
