package pipeline

import "testing"

func TestTotal(t *testing.T) {
	const account = `
rpcap+unix://s/eth0?shard=0/2
  1,200  frames captured by the server, as of its last report
      3    lost in its ring
  1,002  exchanges
  1,000    complete

rpcap+unix://s/eth0?shard=1/2
      0    lost in its ring
     10  exchanges
      9    complete
      1    incomplete
`
	for what, want := range map[string]uint64{"exchanges": 1012, "complete": 1009, "lost in its ring": 3, "nothing": 0} {
		if got := total(account, what); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
}
