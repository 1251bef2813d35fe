package workload_test

import (
	"testing"

	"capstan/bench/workload"
)

func TestWorkloads(t *testing.T) {
	for name, want := range map[string]struct{ connections, exchanges uint64 }{
		"api-2k": {50, 5000}, "api-8k": {50, 2500}, "short": {3000, 3000}, "http2": {50, 5000}, "grpc": {50, 5000},
	} {
		w, err := workload.New(name)
		if err != nil {
			t.Fatal(err)
		}
		if w.Connections != want.connections || w.Exchanges != want.exchanges {
			t.Errorf("%s: %d connections, %d exchanges, want %+v", name, w.Connections, w.Exchanges, want)
		}
		longest, bytes, last := 0, 0, int64(0)
		for i := range w.Frames {
			f := &w.Frames[i]
			longest, bytes = max(longest, len(f.Data)), bytes+f.Len
			if f.Timestamp <= last {
				t.Fatalf("%s: frame %d is not later than the one before", name, i)
			}
			last = f.Timestamp
		}
		if longest != 54+1448 || bytes != w.Bytes {
			t.Errorf("%s: longest frame %d bytes, %d bytes in all, %d told", name, longest, bytes, w.Bytes)
		}
	}
	if len(workload.Names()) != 5 {
		t.Errorf("workloads %v", workload.Names())
	}
	if _, err := workload.New("none"); err == nil {
		t.Error("a workload that isn't there")
	}
}
