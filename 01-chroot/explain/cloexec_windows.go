package explain

import (
	"errors"
	"os"
)

// closeOnExec has nothing to do: no container's program is executed here.
func closeOnExec(int) {}

// dup is never called: nothing is inherited here.
func dup(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
