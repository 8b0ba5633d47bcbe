//go:build linux

package cgroupfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// What few containers use has the same form in both versions; only the names of
// the files differ.

// ReadCPUSet reads the two lists of a cgroup, such as "0-2,4".
func ReadCPUSet(cpus, mems string) (set CPUSet, err error) {
	if set.CPUs, err = readList(cpus); err == nil {
		set.Mems, err = readList(mems)
	}
	return set, err
}

func readList(file string) ([]uint16, error) {
	text, err := ReadString(file)
	if err != nil || text == "" {
		return nil, err
	}
	var list []uint16
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && ranged {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file, text, err)
		}
		for n := first; n <= last; n++ {
			list = append(list, uint16(n))
		}
	}
	return list, nil
}

// HugePageSizes returns the page sizes that a cgroup counts, as they stand in
// the names of its files: "2MB".
func HugePageSizes(dir, usage string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "hugetlb.*."+usage))
	var sizes []string
	for _, f := range files {
		size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "hugetlb."), "."+usage)
		if !strings.HasSuffix(size, ".rsvd") {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// ReservedPrefix is the beginning of the names of a page size's files: those of
// reservations where this kernel has them (Linux 5.7).
func ReservedPrefix(dir, size, usage string) string {
	prefix := filepath.Join(dir, "hugetlb."+size+".")
	if _, err := os.Stat(prefix + "rsvd." + usage); err == nil {
		return prefix + "rsvd."
	}
	return prefix
}

// RDMALimit is what rdma.max takes: a device and those of its two limits that
// are given (Documentation/admin-guide/cgroup-v1/rdma.rst).
func RDMALimit(device string, handles, objects *uint32) string {
	if handles != nil {
		device += fmt.Sprintf(" hca_handle=%d", *handles)
	}
	if objects != nil {
		device += fmt.Sprintf(" hca_object=%d", *objects)
	}
	return device
}

// ReadRDMA reads rdma.current: "mlx4_0 hca_handle=2 hca_object=2000".
func ReadRDMA(file string) (map[string]RDMA, error) {
	b, err := Read(file)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var devices map[string]RDMA
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		var d RDMA
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(f, "=")
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %q: %w", file, line, err)
			}
			switch key {
			case "hca_handle":
				d.Handles = n
			case "hca_object":
				d.Objects = n
			}
		}
		if devices == nil {
			devices = map[string]RDMA{}
		}
		devices[fields[0]] = d
	}
	return devices, nil
}
