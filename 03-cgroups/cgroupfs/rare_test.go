//go:build linux

package cgroupfs

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestRareCounters(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cpus": "0-2,5\n", "mems": "0\n", "empty": "\n", "rdma.current": "mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=44\n",
		"hugetlb.2MB.usage_in_bytes": "0", "hugetlb.2MB.rsvd.usage_in_bytes": "0", "hugetlb.1GB.usage_in_bytes": "0",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set, err := ReadCPUSet(dir+"/cpus", dir+"/mems")
	if want := (CPUSet{CPUs: []uint16{0, 1, 2, 5}, Mems: []uint16{0}}); err != nil || !reflect.DeepEqual(set, want) {
		t.Errorf("cpuset %v, %v", set, err)
	}
	if set, err := ReadCPUSet(dir+"/empty", dir+"/mems"); err != nil || set.CPUs != nil {
		t.Errorf("an empty cpuset: %v, %v", set, err)
	}
	devices, err := ReadRDMA(dir + "/rdma.current")
	if want := map[string]RDMA{"mlx4_0": {2, 2000}, "ocrdma1": {3, 44}}; err != nil || !reflect.DeepEqual(devices, want) {
		t.Errorf("rdma %v, %v", devices, err)
	}
	if devices, err := ReadRDMA(dir + "/none"); err != nil || devices != nil {
		t.Errorf("without the controller: %v, %v", devices, err)
	}
	if got := HugePageSizes(dir, "usage_in_bytes"); !reflect.DeepEqual(got, []string{"1GB", "2MB"}) {
		t.Errorf("page sizes %v", got)
	}
	if got := ReservedPrefix(dir, "2MB", "usage_in_bytes"); got != dir+"/hugetlb.2MB.rsvd." {
		t.Errorf("prefix %s", got)
	}
	if got := ReservedPrefix(dir, "1GB", "usage_in_bytes"); got != dir+"/hugetlb.1GB." {
		t.Errorf("prefix %s", got)
	}
}
