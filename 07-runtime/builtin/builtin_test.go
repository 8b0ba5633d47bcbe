package builtin

import (
	"archive/tar"
	"crypto/sha256"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// TestAppletsAreCommands builds box and asks it for each name in /bin.
func TestAppletsAreCommands(t *testing.T) {
	box := t.TempDir() + "/box"
	if out, err := exec.Command("go", "build", "-o", box, "./cmd/box").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range Applets {
		cmd := exec.Command(box, name, "--no-such-flag")
		cmd.Env = []string{}
		if name == "sleep" || name == "yes" || name == "mktemp" || name == "touch" || name == "mkdir" || name == "env" {
			continue // they would take the flag for an operand
		}
		if out, _ := cmd.CombinedOutput(); strings.Contains(string(out), "no such command") {
			t.Errorf("%s: %s", name, out)
		}
	}
	out, err := exec.Command(box, "sh", "-c", "for i in 1 2; do echo $i; done; exit 3").Output()
	if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 3 || string(out) != "1\n2\n" {
		t.Errorf("a script: %q, %v", out, err)
	}
}

func TestLayersAreReproducible(t *testing.T) {
	for _, img := range []Image{hello(), box()} {
		// The programs may not be built yet: their content does not matter here.
		for i := range img.files {
			img.files[i].embedded = ""
		}
		var sums [2][32]byte
		for i := range sums {
			r, err := img.Layer()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Fatal(err)
			}
			sums[i] = sha256.Sum256(b)
			names := map[string]bool{}
			for archive := tar.NewReader(strings.NewReader(string(b))); ; {
				h, err := archive.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				names[h.Name] = true
			}
			if img.Name == "box" && (!names["bin/sh"] || !names["etc/passwd"]) {
				t.Errorf("box holds %v", names)
			}
		}
		if sums[0] != sums[1] {
			t.Errorf("%s: two layers of the same program differ", img.Name)
		}
	}
}
