package session

import (
	"errors"
	"net"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

// setSampling answers SETSAMPLING_REQ, or returns nil if the daemon stops. It
// holds for the capture that runs and for those to come. Deviation: the
// reference accepts it and does nothing.
func (s *Session) setSampling(h rpcap.Header, body []byte) rpcap.Message {
	var m rpcap.SetSamplingRequest
	if err := rpcap.Decode(h, body, &m); err != nil {
		return &rpcap.Error{Code: rpcap.CodeSetSampling, Text: decodeText(err)}
	}
	rule := samplingOf(m)
	if s.capture != nil && rule != s.sampling {
		if !s.awaitFilterLoad() { // the kernel's program changes
			return nil
		}
		if err := s.capture.pump.SetSampling(rule); err != nil && !errors.Is(err, net.ErrClosed) {
			return &rpcap.Error{Code: rpcap.CodeSetSampling, Text: err.Error()}
		}
	}
	s.sampling = rule
	return &rpcap.SetSamplingReply{}
}

// samplingOf returns what m asks for. A value of 0, which is all that libpcap
// 1.9 and later sends from little-endian hosts, means no sampling, and so do
// methods that the protocol doesn't have, which the reference accepts.
func samplingOf(m rpcap.SetSamplingRequest) capture.Sampling {
	switch m.Method {
	case rpcap.SamplingOneInN:
		return capture.Sampling{OneIn: m.Value}
	case rpcap.SamplingFirstAfterMS:
		return capture.Sampling{Interval: time.Duration(m.Value) * time.Millisecond}
	}
	return capture.Sampling{}
}
