package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/device"
)

// textShort is the reference's answer to every body that ends too early.
const textShort = "Message payload is too short"

// perform does what the table says about a message and answers it. The Reason
// is that of a session that can't go on.
func (s *Session) perform(a action, h rpcap.Header, body []byte) Reason {
	switch a {
	case doNothing:
	case doLogError:
		s.logClientError(h, body)
	case doAuthenticate:
		return s.authenticate(h, body)
	case doList:
		s.send(s.list())
	case doOpen:
		return s.answer(s.open(h, body))
	case doStart:
		return s.start(h, body)
	case doUpdateFilter:
		return s.answer(s.updateFilter(h, body))
	case doStats:
		s.send(s.stats())
	case doEnd:
		s.endCapture(true)
		s.send(&rpcap.EndCapReply{})
	case doSetSampling:
		return s.answer(s.setSampling(h, body))
	default:
		s.refuse(a, h)
	}
	return reasonNone
}

// answer sends what a request's handler returned; nil: the daemon stops.
func (s *Session) answer(m rpcap.Message) Reason {
	if m == nil {
		return ReasonShutdown
	}
	s.send(m)
	return reasonNone
}

// refuse answers what the protocol doesn't allow. The ERROR echoes the version
// of what it answers.
func (s *Session) refuse(a action, h rpcap.Header) {
	code := rpcap.CodeWrongMessage
	var text string
	switch a {
	case refuseUnauthenticated:
		text = fmt.Sprintf("%v request sent before authentication was completed", h.Type)
	case refuseAuthenticated:
		text = fmt.Sprintf("%v request sent after authentication was completed", h.Type)
		s.log.Info(fmt.Sprintf("The client sent an %v message after authentication was completed", h.Type))
	case refuseServerMessage:
		text = fmt.Sprintf("Server-to-client message %v received from client", h.Type)
	case refuseUnknown:
		text = fmt.Sprintf("Unknown message type %d", uint8(h.Type))
	case refuseVersionInAuth:
		code, text = rpcap.CodeWrongVersion, "RPCAP version in requests in the authentication phase must be 0"
	case refuseVersion:
		code, text = rpcap.CodeWrongVersion, "RPCAP version in message isn't supported by the server"
	case refuseStartUnopened:
		code, text = rpcap.CodeStartCapture, "No capture device was specified"
	case refuseStartRunning:
		code, text = rpcap.CodeStartCapture, "A capture is already running"
	case refuseUpdateFilter:
		code, text = rpcap.CodeUpdateFilter, "Device not opened. Cannot update filter"
	case refuseEnd:
		code, text = rpcap.CodeEndCapture, "Device not opened. Cannot close the capture"
	}
	if code == rpcap.CodeWrongMessage || code == rpcap.CodeWrongVersion {
		s.counters.ProtocolErrors.Add(1)
	}
	s.sendVersion(h.Version, &rpcap.Error{Code: code, Text: text})
}

// list answers FINDALLIF_REQ.
func (s *Session) list() rpcap.Message {
	interfaces, err := s.host.Interfaces()
	if err != nil {
		s.log.Error("listing failed", "err", err)
		return &rpcap.Error{Code: rpcap.CodeFindAllIf, Text: err.Error()}
	}
	interfaces = slices.DeleteFunc(interfaces, func(i rpcap.Interface) bool { return !s.rights.Allows(i.Name) })
	if len(interfaces) == 0 {
		return &rpcap.Error{Code: rpcap.CodeNoRemoteIf, Text: "No interfaces found! Make sure libpcap/WinPcap is properly installed" +
			" and you have the right to access to the remote device."}
	}
	return &rpcap.FindAllIfReply{Interfaces: interfaces}
}

// A session may open devices this often. Each is looked up, and a line of the
// record: one client must not fill the disk.
const (
	opensPerSecond = 20
	opensBurst     = 50
)

// open answers OPEN_REQ, or returns nil if the daemon stops. Deviation: the
// reference remembers a device that could not be opened.
func (s *Session) open(h rpcap.Header, body []byte) rpcap.Message {
	var m rpcap.OpenRequest
	if err := rpcap.Decode(h, body, &m); err != nil {
		return &rpcap.Error{Code: rpcap.CodeOpen, Text: decodeText(err)}
	}
	// A defence against servers made to connect elsewhere (CVE-2019-15164).
	if strings.Contains(m.Device, "://") {
		return &rpcap.Error{Code: rpcap.CodeOpen, Text: "Source string refers to a remote device"}
	}
	d, err := rpcap.ParseDevice(m.Device)
	if err != nil {
		return &rpcap.Error{Code: rpcap.CodeOpen, Text: err.Error()}
	}
	if !s.pause(s.opens.Reserve().Delay()) {
		return nil
	}
	if !s.rights.Allows(d.Name) {
		// Before anything tells whether there is such a device.
		return s.deny(m.Device, d)
	}
	linkType, err := s.host.Probe(d)
	if err != nil {
		return &rpcap.Error{Code: rpcap.CodeOpen, Text: err.Error()}
	}
	restriction, err := s.restrict(linkType)
	if err != nil {
		s.log.Error("the policy's filter can't be used on this device, so it can't be opened", "device", m.Device, "filter", s.rights.Filter, "err", err)
		return s.deny(m.Device, d)
	}
	if restriction, err = s.demand(d, linkType, restriction); err != nil {
		return &rpcap.Error{Code: rpcap.CodeOpen, Text: err.Error()}
	}
	s.device, s.text, s.restriction = d, m.Device, restriction
	s.record(audit.Event{Kind: audit.KindOpen, Result: audit.OK, Device: m.Device})
	if s.state == stateIdle {
		s.state = stateOpened
	}
	return &rpcap.OpenReply{LinkType: linkType}
}

// deny answers an OPEN of a device that the client may not open.
func (s *Session) deny(text string, d rpcap.Device) *rpcap.Error {
	s.counters.OpensDenied.Add(1)
	s.record(audit.Event{Kind: audit.KindOpen, Result: audit.Refused, Reason: "not permitted", Device: text})
	return &rpcap.Error{Code: rpcap.CodeOpen, Text: device.Denied(d.Name).Error()}
}

// decodeText is the reference's text for a body that can't be decoded.
func decodeText(err error) string {
	d := (*rpcap.DecodeError)(nil)
	switch {
	case !errors.As(err, &d):
		return err.Error()
	case d.Short():
		return textShort
	default:
		return d.Reason
	}
}
