//go:build linux

package device

import (
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
)

// BenchmarkInterfaces tells what the capture of a frame costs all together, in
// processor time of kernel, pump and receiver, by the number of interfaces on one
// ring: what sending costs without a capture is measured, too, and taken off.
func BenchmarkInterfaces(b *testing.B) {
	netnstest.RequireCapture(b)
	for _, pairs := range []int{1, 50, 200} {
		b.Run(fmt.Sprint(pairs), func(b *testing.B) {
			p, peer, data := soakPump(b, rpcap.Device{Name: AnyName, If: "cap*"}, pairs)
			var names []string
			for i := range pairs {
				names = append(names, fmt.Sprintf("gen%d", i))
			}
			from := newSender(b, peer, names...)
			received := make(chan struct{})
			go func() { // ended by p.Stop
				_, _ = io.Copy(io.Discard, data)
				close(received)
			}()
			b.ResetTimer()
			with := sendingCost(b, from, func() {
				p.Stop()
				<-received
			})
			captured := from.sent
			b.StopTimer()
			without := sendingCost(b, from, func() {})
			b.ReportMetric(with-without, "capture-ns/frame")
			b.ReportMetric(without, "send-ns/frame")
			s, err := p.Stats()
			if err != nil || s.Sent+s.Dropped != captured {
				b.Errorf("%d frames sent: %+v, %v", captured, s.Stats, err)
			}
			b.ReportMetric(float64(s.Dropped), "dropped")
		})
	}
}

// sendingCost sends b.N frames, calls end, and returns the processor time of all
// that in ns per frame.
func sendingCost(b *testing.B, from *sender, end func()) float64 {
	begin, sent := processorTime(b), from.sent
	for from.sent-sent < uint64(b.N) {
		if err := from.burst(); err != nil {
			b.Fatal(err)
		}
	}
	end()
	return float64(processorTime(b)-begin) / float64(from.sent-sent)
}

func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
