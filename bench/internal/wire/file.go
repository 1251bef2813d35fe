package wire

import (
	"context"
	"fmt"
	"io"
	"time"

	"capstan/bench/internal/traffic"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

// FileConfig tells which times the frames of a file get.
type FileConfig struct {
	Rate     float64       // frames per second, 0 = 100,000
	Burst    int           // frames close together, followed by a pause that keeps Rate; 0 = 1
	Duration time.Duration // by the frames' times, 0 = no limit
}

const (
	fileRate = 100_000
	// fileStart is 2026-01-01T00:00:00Z in nanoseconds since the Unix epoch:
	// the same plan makes the same file whenever it is written.
	fileStart = 1_767_225_600_000_000_000
	// burstSpacing is the time between the frames of a burst in nanoseconds.
	burstSpacing = 1000.0
	// checkEvery is the number of frames after which the context is looked at.
	checkEvery = 1024
)

// WriteFile writes the frames of g to a pcapng file as if they had been
// captured at their rate. Marks hold the same times. At the end of ctx it stops
// and returns ctx's error.
func WriteFile(ctx context.Context, out io.Writer, g *traffic.Generator, c FileConfig) error {
	if err := checkSchedule(c.Rate, c.Burst, c.Duration); err != nil {
		return err
	}
	if c.Rate == 0 {
		c.Rate = fileRate
	}
	interval, burst := 1e9/c.Rate, uint64(max(c.Burst, 1))
	spacing := min(burstSpacing, interval)
	w, err := capfile.NewWriter(out, "capstan bench")
	if err != nil {
		return err
	}
	id, err := w.AddInterface(capfile.Interface{Name: "generated", LinkType: capture.LinkTypeEthernet})
	if err != nil {
		return err
	}
	var f traffic.Frame
	for n := uint64(0); ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return fmt.Errorf("wire: write file: %w", ctx.Err())
		}
		at := time.Duration(float64(n-n%burst)*interval + float64(n%burst)*spacing)
		if c.Duration > 0 && at >= c.Duration {
			g.Finish()
		}
		if !g.Next(&f) {
			return w.Flush()
		}
		f.Stamp(fileStart + int64(at))
		frame := capture.Frame{Timestamp: fileStart + int64(at), Data: f.Data, Len: len(f.Data), LinkType: capture.LinkTypeEthernet}
		if err := w.WriteFrame(id, &frame); err != nil {
			return err
		}
	}
}
