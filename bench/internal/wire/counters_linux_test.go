package wire

import "testing"

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:   10      1    0    0    0     0          0         0       10       1    0    0    0     0       0          0
  eth0: 1000     10    1    2    3     4          5         6     2000      20    7    8    9    10      11         12
`

func TestParseCounters(t *testing.T) {
	c, err := parseCounters(netDev, "eth0")
	if want := (InterfaceCounts{Sent: 20, Dropped: 15}); err != nil || c != want {
		t.Errorf("%+v %v, want %+v", c, err, want)
	}
	for _, text := range []string{"", "eth0: 1 2 3\n", "eth0: 1 2 3 4 5 6 7 8 9 x 11 12 13 14 15 16\n", "eth0: 1 2 3 4 5 6 7 8 9 10 x 12 13 14 15 16\n", "veth0: 1\n"} {
		if c, err := parseCounters(text, "eth0"); err == nil {
			t.Errorf("%q gives %+v", text, c)
		}
	}
}
