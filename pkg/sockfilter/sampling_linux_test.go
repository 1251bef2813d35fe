package sockfilter

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"capstan/pkg/capture"
	"capstan/pkg/netns/netnstest"
)

// setSampled sets a program that the kernel samples.
func (c *capturer) setSampled(p *Program, rule capture.Sampling) {
	c.t.Helper()
	judged, sampled, err := c.filter.SetSampled(p, rule)
	if err != nil || !sampled || judged != allJudged {
		c.t.Fatalf("%+v, sampled %v, %v", judged, sampled, err)
	}
}

// sampleFrame is accepted by sampleFilter if wanted.
func sampleFrame(wanted bool) []byte {
	f := make([]byte, 60)
	for i := range 12 {
		f[i] = 0xff
	}
	f[12], f[13] = 0x88, 0xb5 // EtherType for local experiments
	if wanted {
		f[14] = 1
	}
	return f
}

func sampleFilter(t *testing.T) *Program {
	return mustCompile(t, []bpf.RawInstruction{
		{Op: opLoadAbsB, K: 14},
		{Op: classJMP | jumpJEQ, K: 1, Jf: 1},
		{Op: opRetK, K: 100},
		{Op: opRetK, K: 0},
	})
}

// sendConcurrently sends count wanted frames and as many unwanted ones from
// several threads.
func sendConcurrently(t *testing.T, l *link, count int) {
	const senders = 4
	var wg sync.WaitGroup
	for range senders {
		fd := openPacketSocket(t, l.sender)
		wg.Go(func() {
			for range count / senders {
				send(t, fd, l.senderIndex, sampleFrame(true))
				send(t, fd, l.senderIndex, sampleFrame(false))
			}
		})
	}
	wg.Wait()
}

// One in N is exact, however many processors deliver frames.
func TestSamplingOneIn(t *testing.T) {
	l := newLink(t)
	for _, p := range []*Program{sampleFilter(t), mustCompile(t, ret(0xffff)), nil} {
		c := openCapture(t, l.receiver, l.receiverIndex, Config{})
		c.setSampled(p, capture.Sampling{OneIn: 7})
		const count = 1400
		before := c.waitSeen(0)
		sendConcurrently(t, l, count)
		counts := c.waitSeen(before.Seen + 2*count)
		packets, drops := c.stats()
		accepted := counts.Sampled + packets
		if packets != (accepted+6)/7 || drops != 0 {
			t.Errorf("%d packets of %d accepted, %+v", packets, accepted, counts)
		}
		if p != nil && p.Len() > 1 && accepted != count {
			t.Errorf("%d accepted, want %d", accepted, count)
		}
		if err := c.filter.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSamplingInterval(t *testing.T) {
	l := newLink(t)
	c := openCapture(t, l.receiver, l.receiverIndex, Config{})
	c.setSampled(sampleFilter(t), capture.Sampling{Interval: time.Hour})
	sendConcurrently(t, l, 400)
	counts := c.waitSeen(800)
	if packets, _ := c.stats(); packets != 1 || counts.Sampled != 399 {
		t.Errorf("%d packets in an hour, %+v", packets, counts)
	}
	// A short interval passes between two frames: both are kept.
	c.setSampled(sampleFilter(t), capture.Sampling{Interval: time.Nanosecond})
	fd := openPacketSocket(t, l.sender)
	for range 3 {
		send(t, fd, l.senderIndex, sampleFrame(true))
	}
	counts = c.waitSeen(803)
	if packets, _ := c.stats(); packets != 1+3 || counts.Sampled != 399 {
		t.Errorf("%d packets, %+v", packets, counts)
	}
}

// An equal rule goes on; another one begins anew; none leaves nothing out.
func TestSamplingRules(t *testing.T) {
	l := newLink(t)
	c := openCapture(t, l.receiver, l.receiverIndex, Config{})
	fd := openPacketSocket(t, l.sender)
	seen, kept := uint64(0), uint64(0)
	for _, tc := range []struct {
		rule  capture.Sampling
		send  int
		kept  uint64
		where string
	}{
		{capture.Sampling{OneIn: 5}, 3, 1, "the first of five"},
		{capture.Sampling{OneIn: 5}, 3, 1, "the sixth"},
		{capture.Sampling{OneIn: 4}, 4, 1, "another rule"},
		{capture.Sampling{}, 4, 4, "no rule"},
		{capture.Sampling{OneIn: 1}, 4, 4, "a rule that keeps all"},
	} {
		_, sampled, err := c.filter.SetSampled(sampleFilter(t), tc.rule)
		if err != nil || sampled != tc.rule.Active() {
			t.Fatal(sampled, err)
		}
		for range tc.send {
			send(t, fd, l.senderIndex, sampleFrame(true))
		}
		seen += uint64(tc.send)
		c.waitSeen(seen)
		kept += tc.kept
		if packets, _ := c.stats(); packets != kept {
			t.Errorf("%s: %d packets so far, want %d", tc.where, packets, kept)
		}
	}
}

// What the kernel doesn't judge it doesn't sample.
func TestSamplingIsLeftToUserSpace(t *testing.T) {
	netnstest.RequireCapture(t)
	f, err := NewFilter(Config{View: ViewCooked})
	if err != nil {
		t.Fatal(err)
	}
	length := mustCompile(t, []bpf.RawInstruction{{Op: opLoadLen}, {Op: opRetA}}) // unknown there
	judged, sampled, err := f.SetSampled(length, capture.Sampling{OneIn: 2})
	if err != nil || sampled || judged == allJudged {
		t.Errorf("%+v, sampled %v, %v", judged, sampled, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	rules, err := NewFilter(Config{Cutoff: 1000}) // counts frames behind the program
	if err != nil {
		t.Fatal(err)
	}
	defer rules.Close()
	if judged, sampled, err := rules.SetSampled(nil, capture.Sampling{OneIn: 2}); err != nil || sampled || judged != allJudged {
		t.Errorf("with a cutoff: %+v, sampled %v, %v", judged, sampled, err)
	}
	if _, _, err := f.SetSampled(nil, capture.Sampling{OneIn: 2}); err == nil {
		t.Error("a closed filter samples")
	}
}
