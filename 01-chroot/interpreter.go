//go:build linux

package chroot

import (
	"bytes"
	"strconv"
	"strings"
)

// interpreterOf returns what an executable file asks the kernel to start it
// with, PT_INTERP or the #! line; "" when it asks for nothing.
func interpreterOf(path string) string {
	if head, err := readHead(path); err == nil && bytes.HasPrefix(head, []byte("#!")) {
		if words := strings.Fields(string(head[2:])); len(words) > 0 {
			return words[0]
		}
	}
	if o, err := readObject(path); err == nil {
		return o.interpreter
	}
	return ""
}

// quoteAll writes an argument list as strace does.
func quoteAll(argv []string) string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = strconv.Quote(a)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
