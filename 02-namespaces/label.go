//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"os"
)

// setLabels has execve(2) put the program under the rules of a Linux security
// module. Until then they do not hold; but the system call filter does from its
// first place on, and many a profile knows no openat2(2), which writes them.
func setLabels(p *initProcess) error {
	if profile := p.Process.ApparmorProfile; profile != "" {
		if !AppArmor() {
			return errors.New("process.apparmorProfile: apparmor: config provided but apparmor not supported")
		}
		err := writeAttribute(p, "exec "+profile, "the AppArmor profile of the program", "apparmor/exec", "exec")
		if err != nil {
			return fmt.Errorf("process.apparmorProfile %q: %w", profile, err)
		}
	}
	if label := p.Process.SelinuxLabel; label != "" {
		if !SELinux() {
			return errors.New("process.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported")
		}
		if err := writeAttribute(p, label, "the SELinux context of the program", "exec"); err != nil {
			return fmt.Errorf("process.selinuxLabel %q: %w", label, err)
		}
	}
	return nil
}

// writeAttribute writes to the first of the files of /proc/thread-self/attr
// that is there (proc_pid_attr(5)).
func writeAttribute(p *initProcess, value, why string, files ...string) (err error) {
	for _, file := range files {
		if err = writeProc(p, "thread-self/attr/"+file, value, why); !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return err
}

// AppArmor reports whether the kernel enforces AppArmor profiles.
func AppArmor() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && len(b) > 0 && b[0] == 'Y'
}

// SELinux reports whether the kernel has an SELinux policy.
func SELinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}
