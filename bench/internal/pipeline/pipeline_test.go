package pipeline

import (
	"errors"
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

func TestTotal(t *testing.T) {
	const account = `
rpcap+unix://s/eth0?shard=0/2
  1,200  frames captured by the server, as of its last report
      3    lost in its ring
  1,150  frames arrived (1.1 MiB)
  1,002  exchanges
  1,000    complete

rpcap+unix://s/eth0?shard=1/2
      0    lost in its ring
     50  frames arrived (99 B)
     10  exchanges
      9    complete
      1    incomplete
`
	var l Live
	if err := l.count(account); err != nil || l.Frames != 1200 || l.Exchanges != 1012 || l.Complete != 1009 || l.RingLost != 3 {
		t.Errorf("%+v, %v", l, err)
	}
	if err := l.count("      0  exchanges\n"); err == nil {
		t.Error("nothing told is no error")
	}
}

// TestShares: a function that belongs to no stage counts for who called it.
func TestShares(t *testing.T) {
	stack := func(value int64, names ...string) *profile.Sample {
		s := &profile.Sample{Value: []int64{1, value}}
		for _, name := range names {
			s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
		}
		return s
	}
	list := shares(&profile.Profile{Sample: []*profile.Sample{
		stack(10, "runtime.memmove", "capstan/pkg/packet.(*Decoder).Decode", "capstan/interceptor/internal/engine.(*Engine).Frame"),
		stack(20, "encoding/base64.(*Encoding).Encode", "capstan/interceptor/internal/sink/ndjson.appendBytes", "capstan/interceptor/internal/delivery.(*Fanout).Emit"),
		stack(30, "capstan/interceptor/internal/delivery.(*Queue).Push", "capstan/interceptor/internal/command.(*output).Emit"),
		stack(40, "runtime.gcBgMarkWorker"),
	}})
	want := map[string]float64{"decode": 0.1, "encode": 0.2, "send": 0.3, "runtime": 0.4}
	for _, s := range list {
		if s.Part != want[s.Stage] {
			t.Errorf("%s: %v, want %v", s.Stage, s.Part, want[s.Stage])
		}
	}
}

// TestYardstick: the textbook runs before and after, and all its exchanges are told.
func TestYardstick(t *testing.T) {
	y, err := newYardstick()
	if err != nil {
		t.Fatal(err)
	}
	took, err := y.around(func() error { return nil })
	if err != nil || took <= 0 || y.exchanges%y.w.Exchanges != 0 || y.exchanges < 2*y.w.Exchanges || y.used < 2*yardstickTime {
		t.Errorf("%v, %v: %d exchanges, %v", took, err, y.exchanges, y.used)
	}
	failed := errors.New("failed")
	if _, err := y.around(func() error { return failed }); err != failed {
		t.Error(err)
	}
	l := Live{Exchanges: 200, Rpcapd: time.Millisecond, Interceptor: 3 * time.Millisecond, Textbook: 40 * time.Microsecond}
	if x := l.TimesTextbook(); x < 1.999 || x > 2.001 {
		t.Errorf("200 exchanges in the time of 100 are %v times as many", x)
	}
}
