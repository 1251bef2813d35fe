package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

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

// start answers STARTCAP_REQ. All that can fail is done before the reply; what
// fails after it ends the session, since no request gets two answers.
func (s *Session) start(h rpcap.Header, body []byte) Reason {
	m, program, refusal := s.startRequest(h, body)
	if refusal != nil {
		s.send(refusal)
		return reasonNone
	}
	if !s.awaitFilterLoad() {
		return ReasonShutdown
	}
	options := device.Options{
		SnapLen:      s.rights.LimitSnapLen(rpcap.EffectiveSnapLen(m.SnapLen)),
		BlockTimeout: blockTimeout(m.ReadTimeout),
		Promiscuous:  m.Flags&rpcap.StartCapPromiscuous != 0,
	}
	in, err := s.host.Open(s.device, options)
	if err != nil {
		s.send(startError(err.Error()))
		return reasonNone
	}
	cfg := pump.Config{SnapLen: options.SnapLen, BlockTimeout: options.BlockTimeout}
	if s.opensData(m.Flags) {
		return s.startDialing(m, program, in, cfg)
	}
	return s.startListening(m, program, in, cfg)
}

// opensData tells whether the data connection is the server's to open.
func (s *Session) opensData(f rpcap.StartCapFlags) bool {
	return s.cfg.Active || f&(rpcap.StartCapDatagram|rpcap.StartCapServerOpen) != 0
}

func startError(text string) *rpcap.Error {
	return &rpcap.Error{Code: rpcap.CodeStartCapture, Text: text}
}

// startListening starts a capture whose data connection the client opens.
func (s *Session) startListening(m *rpcap.StartCapRequest, program *sockfilter.Program, in pump.Input, cfg pump.Config) Reason {
	p := pump.New(in, cfg)
	l, reason, err := s.listenData()
	if err != nil || reason != reasonNone {
		p.Close()
		if reason == reasonNone {
			s.send(startError(err.Error()))
		}
		return reason
	}
	if err := s.applyFilter(p, program, m.Filter); err != nil {
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
	return s.run(m, p, conn, l.Release)
}

// listenData makes the listener of the data connection, before the reply.
func (s *Session) listenData() (DataListener, Reason, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeouts.DataAccept)
	defer cancel()
	var l DataListener
	var err error
	reason := s.whileListening(func() {
		l, err = s.data.ListenData(ctx, s.cfg.Timeouts.DataAccept, func() { s.counters.DataRefused.Add(1) })
	}, cancel)
	if reason != reasonNone && err == nil {
		l.Close()
		l.Release()
	}
	return l, reason, err
}

// startDialing starts a capture whose data connection the server opens, which
// it does before it answers, as the reference does.
func (s *Session) startDialing(m *rpcap.StartCapRequest, program *sockfilter.Program, in pump.Input, cfg pump.Config) Reason {
	data, reason, err := s.dialData(m)
	if err != nil || reason != reasonNone {
		pump.New(in, cfg).Close()
		if reason == reasonNone {
			s.send(startError(err.Error()))
		}
		return reason
	}
	cfg.MaxDatagram = data.MaxDatagram
	p := pump.New(in, cfg)
	if err := s.applyFilter(p, program, m.Filter); err != nil {
		p.Close()
		data.Conn.Close()
		data.Release()
		s.send(startError(err.Error()))
		return reasonNone
	}
	s.send(&rpcap.StartCapReply{BufferSize: bufferSize})
	return s.run(m, p, data.Conn, data.Release)
}

// applyFilter makes p capture. It is called before the reply, which says that
// the capture runs.
func (s *Session) applyFilter(p *pump.Pump, program *sockfilter.Program, filter []rpcap.Instruction) error {
	if err := p.SetSampling(s.sampling); err != nil {
		return err
	}
	inKernel, err := p.SetFilter(program)
	if err != nil {
		return err
	}
	s.toldWhy = false
	s.filterLoaded(p, inKernel)
	s.filtered = len(filter) > 1
	return nil
}

// run hands the data connection to p and makes it the session's capture.
func (s *Session) run(m *rpcap.StartCapRequest, p *pump.Pump, conn net.Conn, release func()) Reason {
	conn, reason := s.secureData(conn)
	if reason != reasonNone {
		p.Close()
		release()
		return reason
	}
	if err := p.Start(conn); err != nil {
		p.Close()
		release()
		s.send(startError(err.Error()))
		return ReasonData
	}
	s.begin(&running{pump: p, release: release, text: s.text, started: time.Now(), restriction: s.restriction})
	s.recordStart(m)
	return reasonNone
}

// startRequest decodes a STARTCAP_REQ and compiles its filter. Deviation: the
// reference opens the device first, so that a bad filter on a bad device is
// told as the latter.
func (s *Session) startRequest(h rpcap.Header, body []byte) (*rpcap.StartCapRequest, *sockfilter.Program, *rpcap.Error) {
	if rpcap.LacksFilter(body) {
		body = s.uncountedFilter(body)
	}
	var m rpcap.StartCapRequest
	if err := rpcap.Decode(h, body, &m); err != nil {
		return nil, nil, startError(decodeText(err))
	}
	if s.cfg.TLS != nil && m.Flags&rpcap.StartCapDatagram != 0 {
		// Deviation: the reference means this text, but sends what its stack holds.
		return nil, nil, startError("SSL not supported with UDP forward of remote packets")
	}
	program, err := compile(s.restriction, m.Filter)
	if err != nil {
		return nil, nil, startError(filterText(err))
	}
	return &m, program, nil
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

// acceptData waits for the data connection after the reply.
func (s *Session) acceptData(l DataListener) (net.Conn, Reason) {
	var conn net.Conn
	var err error
	reason := s.whileListening(func() { conn, err = l.Accept(); l.Close() }, l.Close)
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

// dialData makes the data connection before the reply.
func (s *Session) dialData(m *rpcap.StartCapRequest) (*DialedData, Reason, error) {
	network := "tcp"
	if m.Flags&rpcap.StartCapDatagram != 0 {
		network = "udp"
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeouts.DataAccept)
	defer cancel()
	var data *DialedData
	var err error
	reason := s.whileListening(func() { data, err = s.data.DialData(ctx, network, m.DataPort) }, cancel)
	if reason != reasonNone && err == nil {
		data.Conn.Close()
		data.Release()
	}
	return data, reason, err
}

// whileListening runs work in a goroutine and notices meanwhile when the
// control connection goes or the daemon stops; then it calls abort, which must
// make work return. It always waits for work.
func (s *Session) whileListening(work, abort func()) Reason {
	done := make(chan struct{})
	go func() { // ended by itself or by abort; waited for below
		work()
		close(done)
		s.control.wake()
	}()
	reason := s.awaitDone(done)
	if reason != reasonNone {
		abort()
	}
	<-done
	return reason
}

// earlyRequests bounds what is read ahead while waiting for a data connection.
const earlyRequests = 4 << 10

// awaitDone returns when done is closed, or why not to wait any longer.
func (s *Session) awaitDone(done <-chan struct{}) Reason {
	for {
		select {
		case <-done:
			return reasonNone
		default:
		}
		if s.ctx.Err() != nil {
			return ReasonShutdown
		}
		ahead := s.control.reader.Buffered() + 1
		if ahead > earlyRequests {
			select {
			case <-done:
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
