package session

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/bpf"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/device"
	"capstan/rpcapd/internal/pump"
)

// bufferSize is what STARTCAP_REPLY tells; libpcap's client raises its receive
// buffer to it. The reference tells 262,144 too.
const bufferSize = 262144

// The read timeout that a client asks for is how long the kernel may hold a
// block that isn't full. 0 means "at once if possible" to libpcap's users, and
// is given 10 ms; longer ones are cut so that ENDCAP needn't wait for ever.
const (
	defaultBlockTimeout = 10 * time.Millisecond
	minBlockTimeout     = time.Millisecond
	maxBlockTimeout     = time.Second
)

func blockTimeout(readTimeout time.Duration) time.Duration {
	if readTimeout == 0 {
		return defaultBlockTimeout
	}
	return min(max(readTimeout, minBlockTimeout), maxBlockTimeout)
}

// running is a capture from STARTCAP to ENDCAP.
type running struct {
	pump     *pump.Pump
	listener DataListener
	watch    sync.WaitGroup // the goroutine that waits for the pump
	endedAt  time.Time      // when the session found that the pump has ended
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

// start answers STARTCAP_REQ. All that can fail is done before the reply; what
// fails after it ends the session, since no request gets two answers.
func (s *Session) start(h rpcap.Header, body []byte) Reason {
	m, program, refusal := s.startRequest(h, body)
	if refusal != nil {
		s.send(refusal)
		return reasonNone
	}
	cfg := pump.Config{SnapLen: rpcap.EffectiveSnapLen(m.SnapLen), BlockTimeout: blockTimeout(m.ReadTimeout)}
	in, err := s.host.Open(s.device, device.Options{
		SnapLen: cfg.SnapLen, BlockTimeout: cfg.BlockTimeout, Promiscuous: m.Flags&rpcap.StartCapPromiscuous != 0,
	})
	if err != nil {
		s.send(startError(err.Error()))
		return reasonNone
	}
	p := pump.New(in, cfg)
	l, err := s.data.ListenData(time.Now().Add(s.cfg.Timeouts.DataAccept), func() { s.counters.DataRefused.Add(1) })
	if err != nil {
		p.Close()
		s.send(startError(err.Error()))
		return reasonNone
	}
	// The reply says that the capture runs, so it has to before.
	inKernel, err := p.SetFilter(program)
	if err != nil {
		p.Close()
		l.Close()
		l.Release()
		s.send(startError(err.Error()))
		return reasonNone
	}
	s.send(&rpcap.StartCapReply{BufferSize: bufferSize, DataPort: l.Port()})
	conn, reason := s.acceptData(l)
	if reason != reasonNone {
		p.Close()
		l.Release()
		return reason
	}
	if err := p.Start(conn); err != nil {
		p.Close()
		l.Release()
		s.send(startError(err.Error()))
		return ReasonData
	}
	s.filterLoaded(inKernel)
	s.filtered = len(m.Filter) > 1
	s.begin(&running{pump: p, listener: l})
	return reasonNone
}

func startError(text string) *rpcap.Error {
	return &rpcap.Error{Code: rpcap.CodeStartCapture, Text: text}
}

// startRequest decodes a STARTCAP_REQ and compiles its filter. Deviation: the
// reference opens the device first, so that a bad filter on a bad device is
// told as the latter.
func (s *Session) startRequest(h rpcap.Header, body []byte) (rpcap.StartCapRequest, *sockfilter.Program, *rpcap.Error) {
	if rpcap.LacksFilter(body) {
		body = s.uncountedFilter(body)
	}
	var m rpcap.StartCapRequest
	if err := rpcap.Decode(h, body, &m); err != nil {
		return m, nil, startError(decodeText(err))
	}
	switch {
	case m.Flags&rpcap.StartCapDatagram != 0:
		return m, nil, startError("UDP data connections are not supported by this server")
	case m.Flags&rpcap.StartCapServerOpen != 0:
		return m, nil, startError("Data connections opened by the server are not supported by this server")
	}
	program, err := compile(m.Filter)
	if err != nil {
		return m, nil, startError(filterText(err))
	}
	return m, program, nil
}

// uncountedFilter returns body with the instruction behind it that libpcap's
// client forgets to count when no filter was set. If what follows is something
// else, or nothing, body stays as it is. Deviation: the reference refuses such
// a request and then takes the instruction for a CLOSE.
func (s *Session) uncountedFilter(body []byte) []byte {
	body = append(make([]byte, 0, len(body)+rpcap.UncountedFilterLen), body...) // copied because peek overwrites it
	deadline := time.Now().Add(s.cfg.Timeouts.Uncounted)
	for {
		b, err := s.control.peek(rpcap.UncountedFilterLen, deadline)
		if errors.Is(err, errWoken) && s.ctx.Err() == nil {
			continue
		}
		if err == nil && rpcap.IsUncountedFilter(b) {
			body = append(body, b...)
			s.control.reader.Discard(rpcap.UncountedFilterLen)
		}
		return body
	}
}

// earlyRequests bounds what is read ahead while waiting for a data connection.
const earlyRequests = 4 << 10

// acceptData waits for the data connection and notices when the control
// connection goes meanwhile.
func (s *Session) acceptData(l DataListener) (net.Conn, Reason) {
	var conn net.Conn
	var err error
	accepted := make(chan struct{})
	go func() { // ended by the listener's deadline or Close; waited for below
		conn, err = l.Accept()
		l.Close()
		close(accepted)
		s.control.wake()
	}()
	reason := s.awaitAccept(accepted)
	if reason != reasonNone {
		l.Close()
	}
	<-accepted
	switch {
	case reason != reasonNone:
		if err == nil {
			conn.Close()
		}
		return nil, reason
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.send(startError("The client did not open the data connection in time"))
		return nil, ReasonData
	case err != nil:
		s.log.Error("Accept of data connection failed", "err", err)
		s.send(startError(fmt.Sprintf("Accept of data connection failed: %v", err)))
		return nil, ReasonData
	}
	return conn, reasonNone
}

// awaitAccept returns when accepted is closed, or why not to wait any longer.
func (s *Session) awaitAccept(accepted <-chan struct{}) Reason {
	for {
		select {
		case <-accepted:
			return reasonNone
		default:
		}
		if s.ctx.Err() != nil {
			return ReasonShutdown
		}
		ahead := s.control.reader.Buffered() + 1
		if ahead > earlyRequests {
			select {
			case <-accepted:
				return reasonNone
			case <-s.ctx.Done():
				return ReasonShutdown
			}
		}
		_, err := s.control.peek(ahead, time.Time{})
		if err != nil && !errors.Is(err, errWoken) {
			return ReasonEOF
		}
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
	r.listener.Release()
	final, _ := r.pump.Stats() // a pump that has ended has its counters
	s.statsMu.Lock()
	s.last, s.current = final, nil
	s.ended.Add(final)
	s.statsMu.Unlock()
	s.capture = nil
	s.state = stateOpened
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

// filterText is the reference's answer to an invalid program; a valid one that
// this server can't run is told what it is about.
func filterText(err error) string {
	if unsupported := (*sockfilter.UnsupportedError)(nil); errors.As(err, &unsupported) {
		return fmt.Sprintf("The filter contains a load that is not supported by this server: %s", unsupported.Load)
	}
	return "The filter contains invalid instructions"
}

// updateFilter answers UPDATEFILTER_REQ. After a failure the old filter stays.
func (s *Session) updateFilter(h rpcap.Header, body []byte) rpcap.Message {
	var m rpcap.UpdateFilterRequest
	if err := rpcap.Decode(h, body, &m); err != nil {
		return &rpcap.Error{Code: rpcap.CodeUpdateFilter, Text: decodeText(err)}
	}
	program, err := compile(m.Filter)
	if err != nil {
		return &rpcap.Error{Code: rpcap.CodeUpdateFilter, Text: filterText(err)}
	}
	inKernel, err := s.capture.pump.SetFilter(program)
	if err != nil {
		return &rpcap.Error{Code: rpcap.CodeUpdateFilter, Text: err.Error()}
	}
	s.filterLoaded(inKernel)
	s.filtered = len(m.Filter) > 1
	return &rpcap.UpdateFilterReply{}
}

func (s *Session) filterLoaded(inKernel bool) {
	if inKernel {
		s.counters.FilterLoads.Add(1)
	} else {
		s.counters.FilterFallbacks.Add(1)
	}
}

func compile(filter []rpcap.Instruction) (*sockfilter.Program, error) {
	raw := make([]bpf.RawInstruction, len(filter))
	for i, insn := range filter {
		raw[i] = bpf.RawInstruction(insn)
	}
	return sockfilter.Compile(raw)
}
