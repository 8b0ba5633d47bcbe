//go:build linux

package stracetest

import (
	"slices"
	"strings"
	"testing"
)

const trace = `101 execve("/tmp/jail", ["jail", "--explain"], 0x7ffd /* 3 vars */) = 0
101 unshare(CLONE_NEWNS)                = 0
101 mount("", "/", "", MS_REC|MS_PRIVATE, NULL) = 0
102 openat(5</tmp/jail/usr/bin>, "dash.new", O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600 <unfinished ...>
101 chdir("/t\303\251\n")               = 0
102 <... openat resumed>)               = 6</tmp/jail/usr/bin/dash.new>
102 write(7</sys/fs/cgroup/memory/box/memory.max>, "67108864", 8) = 8
102 sendto(3<NETLINK:[1]>, [{nlmsg_len=60, nlmsg_type=RTM_NEWLINK, nlmsg_flags=NLM_F_REQUEST}, {ifi_family=AF_UNSPEC}, [[{nla_len=8, nla_type=IFLA_IFNAME}, "dd0"], [{nla_len=14, nla_type=IFLA_LINKINFO}, [{nla_len=10, nla_type=IFLA_INFO_KIND}, "bridge"]]]], 60, 0, NULL, 0) = 60
102 sendmsg(3<NETLINK:[2]>, {msg_name={}, msg_iov=[{iov_base=[{nlmsg_len=36, nlmsg_type=NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_NEWTABLE}, {nlmsg_type=NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_NEWRULE}]}]}, 0) = 99
102 clone(child_stack=NULL, flags=CLONE_NEWNS|CLONE_NEWPID|SIGCHLD) = 103
`

func TestCallsThatWereMade(t *testing.T) {
	if err := Compare([]string{
		`unshare(CLONE_NEWNS)`,
		`mount("", "/", "", MS_REC|MS_PRIVATE, NULL)`,
		`openat(</tmp/jail/usr/bin>, "dash.new", O_WRONLY|O_CREAT|O_EXCL)`,
		`chdir("/té\n")`,
		`write("/sys/fs/cgroup/memory/box/memory.max", "67108864")`,
		`sendto(NETLINK_ROUTE, RTM_NEWLINK ifname="dd0" kind="bridge")`,
		`sendto(NETLINK_NETFILTER, NFT_MSG_NEWTABLE table="drydock")`,
		`sendto(NETLINK_NETFILTER, NFT_MSG_NEWRULE table="drydock" chain="postrouting")`,
		`clone3({flags=CLONE_NEWNS|CLONE_NEWPID})`,
	}, strings.NewReader(trace)); err != nil {
		t.Error(err)
	}
}

func TestInterruptedCallsAreMadeWhole(t *testing.T) {
	const want = `
102 openat(5</tmp/jail/usr/bin>, "dash.new", O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600)               = 6</tmp/jail/usr/bin/dash.new>
101 chdir(`
	if got := Whole(trace); !strings.Contains(got, want) || strings.Contains(got, "resumed") {
		t.Errorf("want %s in\n%s", want, got)
	}
}

func TestCallsThatWereNot(t *testing.T) {
	for _, calls := range [][]string{
		{`unshare(CLONE_NEWUTS)`},
		{`umount2("/")`},
		{`mount("", "/proc", "", MS_REC|MS_PRIVATE, NULL)`},
		{`openat(</tmp/jail/usr/lib>, "dash.new", O_WRONLY)`},
		{`write("/sys/fs/cgroup/memory/box/memory.max", "67108865")`},
		{`sendto(NETLINK_ROUTE, RTM_DELLINK ifname="dd0")`},
		{`mount("", "/", "", MS_REC|MS_PRIVATE, NULL)`, `unshare(CLONE_NEWNS)`},
		{`unshare(CLONE_NEWNS)`, `unshare(CLONE_NEWNS)`},
		{`writes to memory.max`},
	} {
		if err := Compare(calls, strings.NewReader(trace)); err == nil {
			t.Errorf("%q: found", calls)
		}
	}
}

func TestExplainedCalls(t *testing.T) {
	output := "  1  ch1  chroot(\"/tmp/jail\")  # why (not)\nhello\n 12  ch3  write(\"/a\", \"1\")  # so\n"
	want := []string{`chroot("/tmp/jail")`, `write("/a", "1")`}
	if got := Explained([]byte(output)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTableOfPeers(t *testing.T) {
	rows := tableOf("# x\n\n| a | b |\n\n| strace sees | `jail -p` | runc 1.1 |\n| --- | --- | --- |\n| mounts | `mount(\"\", \"/\", \"\", MS_REC\\|MS_PRIVATE, NULL)` | – |\n| no mounts | `umount2(\"/x\")` | – |\n\n| more |\n")
	if len(rows) != 3 || rows[0][1] != "`jail -p`" || rows[0][2] != "runc 1.1" {
		t.Fatalf("got %q", rows)
	}
	for i, want := range [][]string{
		1: {1: "", 2: `it does call mount("", "/", "", MS_REC|MS_PRIVATE, NULL)`},
		2: {1: "explained, but not seen by strace after the start:\n\tumount2(\"/x\")", 2: ""},
	} {
		for j, problem := range want {
			if j == 0 {
				continue
			}
			if got := rows[i].check(j, []byte(trace)); got != problem {
				t.Errorf("row %d, column %d: got %q, want %q", i, j, got, problem)
			}
		}
	}
}
