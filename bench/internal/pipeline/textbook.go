package pipeline

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"capstan/bench/internal/cpu"
	"capstan/bench/textbook"
	"capstan/bench/workload"
)

// yardstick is what the textbook pipeline takes for an exchange on this machine as
// it is at the time: always the same, of frames in memory with responses of 1,800
// bytes. Its methods are for one goroutine, while nothing else works here.
type yardstick struct {
	w         *workload.Workload
	used      time.Duration
	exchanges uint64
}

// yardstickTime is for how long one measurement lasts, in processor time.
const yardstickTime = 500 * time.Millisecond

func newYardstick() (*yardstick, error) {
	w, err := workload.New("api-2k")
	return &yardstick{w: w}, err
}

// measure adds a measurement.
func (y *yardstick) measure() error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines that meet on one processor wait the least
	runtime.GC()                                    // what the run before has left isn't its own
	begin, err := cpu.Clock(os.Getpid())
	if err != nil {
		return err
	}
	var took time.Duration
	for took < yardstickTime {
		var told uint64
		p := textbook.New(func(*textbook.Exchange) { told++ })
		for i := range y.w.Frames {
			p.Frame(&y.w.Frames[i])
		}
		p.Finish()
		if told != y.w.Exchanges {
			return fmt.Errorf("textbook pipeline: %d exchanges, there are %d", told, y.w.Exchanges)
		}
		y.exchanges += told
		now, err := cpu.Clock(os.Getpid())
		if err != nil {
			return err
		}
		took = now - begin
	}
	y.used += took
	return nil
}

// around runs a measurement between two of the yardstick and returns what the
// textbook takes for an exchange, since machines change their speed.
func (y *yardstick) around(run func() error) (time.Duration, error) {
	y.used, y.exchanges = 0, 0
	for _, step := range []func() error{y.measureFree, run, y.measureFree} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	return each(y.used, y.exchanges), nil
}

// measureFree is measure in a goroutine of its own: the caller's may be tied to a
// thread, and then each switch between goroutines is one of threads.
func (y *yardstick) measureFree() error {
	done := make(chan error)
	go func() { done <- y.measure() }()
	return <-done
}
