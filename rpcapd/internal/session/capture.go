package session

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/net/bpf"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/pump"
)

// running is a capture from STARTCAP to ENDCAP.
type running struct {
	pump    *pump.Pump
	text    string // the device's name as the client wrote it
	started time.Time
	// restriction is that of the device that is captured on; an OPEN meanwhile
	// doesn't change it.
	restriction []bpf.RawInstruction
	release     func()         // says that the data connection is closed
	watch       sync.WaitGroup // the goroutine that waits for the pump
	endedAt     time.Time      // when the session found that the pump has ended
}

// ended reports whether the pump has ended by itself.
func (r *running) ended() bool {
	select {
	case <-r.pump.Done():
		return true
	default:
		return false
	}
}

// begin makes r the session's capture.
func (s *Session) begin(r *running) {
	s.capture = r
	s.state = stateCapturing
	s.statsMu.Lock()
	s.current = r.pump
	s.statsMu.Unlock()
	r.watch.Go(func() { // ended by the pump; endCapture waits
		<-r.pump.Done()
		s.control.wake()
	})
}

// captureEnded attends to a pump that ended by itself. A device that vanished
// ends the session: ERROR 9 can't be taken for an answer, since none is owed
// now. A lost data connection doesn't; STATS and ENDCAP are still answered.
func (s *Session) captureEnded() Reason {
	if !s.capture.endedAt.IsZero() {
		return reasonNone
	}
	s.capture.endedAt = time.Now()
	s.capture.pump.Close()
	err := s.capture.pump.Err()
	if errors.Is(err, pump.ErrConnectionLost) {
		s.log.Info("data connection lost", "err", err)
		return reasonNone
	}
	s.log.Warn("capture failed", "device", s.text, "err", err)
	text := "Error reading the packets: "
	if gone := (*afpacket.InterfaceGoneError)(nil); errors.As(err, &gone) {
		text += "The interface disappeared"
	} else if err != nil {
		text += err.Error()
	}
	s.send(&rpcap.Error{Code: rpcap.CodeRead, Text: text})
	return ReasonDevice
}

// endCapture ends the capture, after delivering what the ring holds if drain.
func (s *Session) endCapture(drain bool) {
	r := s.capture
	if drain {
		r.pump.Stop()
	} else {
		r.pump.Close()
	}
	r.watch.Wait()
	r.release()
	final, _ := r.pump.Stats() // a pump that has ended has its counters
	s.statsMu.Lock()
	s.last, s.current = final, nil
	s.ended.Add(final)
	s.statsMu.Unlock()
	s.capture = nil
	s.state = stateOpened
	s.record(audit.Event{
		Kind: audit.KindEnd, Device: r.text, DurationMS: time.Since(r.started).Milliseconds(), Counts: countsOf(final),
	})
}

// stats answers STATS_REQ. Deviation: the reference means to tell the final
// counters after ENDCAP, but tells zeros.
func (s *Session) stats() rpcap.Message {
	stats := s.last
	if s.capture != nil {
		var err error
		if stats, err = s.capture.pump.Stats(); err != nil {
			s.log.Error("reading counters failed", "err", err)
			return &rpcap.Error{Code: rpcap.CodeGetStats, Text: err.Error()}
		}
	}
	reply := stats.Reply()
	return &reply
}
