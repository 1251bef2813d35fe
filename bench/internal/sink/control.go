//go:build linux

package sink

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A sink that measures runs in a process of its own, in the network namespace
// of the server, and is told what to do line by line:
//
//	order (its input)     event (its output, JSON)
//	                      {"event":"capturing"} or {"event":"failed","error":…}
//	settle                {"event":"settled","quiet":true|false,"frames":…}
//	end                   {"event":"result","result":{…}}
//
// The end of its input means "end" too.

// Event is what a controlled sink says.
type Event struct {
	Event  string  `json:"event"`
	Error  string  `json:"error,omitempty"`
	Quiet  bool    `json:"quiet,omitempty"`
	Frames uint64  `json:"frames,omitempty"` // that have arrived by then
	Result *Result `json:"result,omitempty"`
}

// The events.
const (
	EventCapturing = "capturing"
	EventFailed    = "failed"
	EventSettled   = "settled"
	EventResult    = "result"
)

const (
	orderSettle = "settle"
	orderEnd    = "end"
)

// Quiet is how long nothing may come at least for a capture to be settled.
const Quiet = 150 * time.Millisecond

// QuietFor returns how long nothing may come for a capture with that read
// timeout to be settled: longer than the timeout, so that no frame is left in a
// block.
func QuietFor(readTimeout time.Duration) time.Duration { return max(Quiet, 2*readTimeout) }

// SettleLimit bounds the wait for that.
const SettleLimit = 15 * time.Second

// Obey runs a sink by the orders that in gives, and says on out what becomes of
// them.
func Obey(ctx context.Context, c Config, in io.Reader, out io.Writer) error {
	say := json.NewEncoder(out).Encode
	s, err := Open(ctx, c)
	if err != nil {
		return errors.Join(err, say(Event{Event: EventFailed, Error: err.Error()}))
	}
	defer s.Close()
	if err := say(Event{Event: EventCapturing}); err != nil {
		return err
	}
	orders := bufio.NewScanner(in)
	for orders.Scan() && orders.Text() != orderEnd {
		if orders.Text() != orderSettle {
			return fmt.Errorf("unknown order %q", orders.Text())
		}
		limited, cancel := context.WithTimeout(ctx, SettleLimit)
		quiet := s.Settle(limited, QuietFor(c.ReadTimeout))
		cancel()
		if err := say(Event{Event: EventSettled, Quiet: quiet, Frames: s.progress.Load()}); err != nil {
			return err
		}
	}
	r := s.End(ctx)
	return errors.Join(orders.Err(), say(Event{Event: EventResult, Result: &r}))
}

// Master gives the orders to a sink that obeys. It is for one goroutine.
type Master struct {
	in  io.Writer
	out *json.Decoder
}

// NewMaster returns a Master for a sink with this input and output.
func NewMaster(in io.Writer, out io.Reader) *Master {
	return &Master{in: in, out: json.NewDecoder(out)}
}

// AwaitCapturing waits until the sink captures.
func (m *Master) AwaitCapturing() error {
	_, err := m.await(EventCapturing)
	return err
}

// Settle waits until the sink's capture is quiet. It returns how many frames
// have arrived and whether it got quiet.
func (m *Master) Settle() (frames uint64, quiet bool, err error) {
	if _, err := io.WriteString(m.in, orderSettle+"\n"); err != nil {
		return 0, false, fmt.Errorf("sink: %w", err)
	}
	e, err := m.await(EventSettled)
	return e.Frames, e.Quiet, err
}

// End ends the capture and returns what the sink has seen.
func (m *Master) End() (Result, error) {
	if _, err := io.WriteString(m.in, orderEnd+"\n"); err != nil {
		return Result{}, fmt.Errorf("sink: %w", err)
	}
	e, err := m.await(EventResult)
	if err != nil {
		return Result{}, err
	}
	if e.Result == nil {
		return Result{}, errors.New("sink: a result without a result")
	}
	return *e.Result, nil
}

func (m *Master) await(event string) (Event, error) {
	var e Event
	if err := m.out.Decode(&e); err != nil {
		return e, fmt.Errorf("sink ended before it was %s: %w", event, err)
	}
	switch e.Event {
	case event:
		return e, nil
	case EventFailed:
		return e, fmt.Errorf("sink: %s", e.Error)
	}
	return e, fmt.Errorf("sink: %q instead of %q", e.Event, event)
}
