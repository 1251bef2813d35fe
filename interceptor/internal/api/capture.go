package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"capstan/interceptor/internal/source"
	"capstan/pkg/rpcap"
	capstanv1 "capstan/proto/capstan/v1"
)

// askTimeout bounds a question to a capture server.
const askTimeout = 10 * time.Second

// maxCaptureFilter is how long a capture filter may be, in bytes: the length of
// what compiling one works through.
const maxCaptureFilter = 4096

// names returns the sources asked for, in the ledger's order; name "" is all.
func (s *service) names(name string) ([]string, error) {
	if name != "" {
		if s.backend.Sources()[name] == nil {
			return nil, status.Errorf(codes.NotFound, "there is no source %q", name)
		}
		return []string{name}, nil
	}
	var all []string
	for _, l := range s.backend.Ledgers() {
		if s.backend.Sources()[l.Name] != nil {
			all = append(all, l.Name)
		}
	}
	return all, nil
}

// ListInterfaces implements capstanv1.InterceptorServer. It asks all servers at
// the same time.
func (s *service) ListInterfaces(ctx context.Context, request *capstanv1.ListInterfacesRequest) (*capstanv1.ListInterfacesResponse, error) {
	names, err := s.names(request.GetSource())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make([]*capstanv1.SourceInterfaces, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() { // ends with ctx
			answers[i] = &capstanv1.SourceInterfaces{Source: name}
			interfaces, err := s.backend.Sources()[name].Interfaces(ctx)
			if err != nil {
				answers[i].Problem = utf8Text(err.Error())
			}
			for _, n := range interfaces {
				answers[i].Interfaces = append(answers[i].Interfaces, interfaceMessage(n))
			}
		})
	}
	asking.Wait()
	return &capstanv1.ListInterfacesResponse{Sources: answers}, nil
}

func interfaceMessage(n rpcap.Interface) *capstanv1.Interface {
	m := &capstanv1.Interface{
		Name: utf8Text(n.Name), Description: utf8Text(n.Description),
		Up: n.Flags&rpcap.InterfaceUp != 0, Running: n.Flags&rpcap.InterfaceRunning != 0, Loopback: n.Flags&rpcap.InterfaceLoopback != 0,
	}
	for _, a := range n.Addresses {
		if a.Addr.IsValid() {
			m.Addresses = append(m.Addresses, a.Addr.String())
		}
	}
	return m
}

// utf8Text makes a server's text fit for a message, whose strings are UTF-8.
func utf8Text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// SetCapture implements capstanv1.InterceptorServer.
func (s *service) SetCapture(ctx context.Context, request *capstanv1.SetCaptureRequest) (*capstanv1.SetCaptureResponse, error) {
	names, err := s.names(request.GetSource())
	if err != nil {
		return nil, err
	}
	if len(names) != 1 {
		return nil, status.Errorf(codes.InvalidArgument, "there are %d sources: say which", len(names))
	}
	to, err := fromMessage(request.GetSettings())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	src := s.backend.Sources()[names[0]]
	from := src.Settings()
	interruption, err := src.Set(ctx, to)
	s.audit.set(caller(ctx), names[0], logged(from), logged(to), interruption, err)
	if err != nil {
		return nil, setError(err)
	}
	answer := &capstanv1.SetCaptureResponse{Settings: toMessage(src.Settings())}
	if interruption > 0 {
		answer.Interruption = durationpb.New(interruption)
	}
	return answer, nil
}

func setError(err error) error {
	var settings *source.SettingsError
	switch {
	case errors.As(err, &settings):
		return status.Error(codes.InvalidArgument, utf8Text(err.Error()))
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Unavailable, utf8Text(err.Error()))
}

// logged is settings in an audit line.
type logged source.Settings

// LogValue implements slog.LogValuer.
func (l logged) LogValue() slog.Value {
	return slog.GroupValue(slog.String("device", l.Device), slog.String("filter", l.Filter))
}

// fromMessage puts one_in_flows where a device has it: in its parameters.
func fromMessage(m *capstanv1.CaptureSettings) (source.Settings, error) {
	d, err := rpcap.ParseDevice(m.GetDevice())
	switch {
	case err != nil:
		return source.Settings{}, err
	case d.Name == "":
		return source.Settings{}, errors.New("settings: no device: set all of them, as GetStatus tells those to keep")
	case len(m.GetFilter()) > maxCaptureFilter:
		return source.Settings{}, fmt.Errorf("settings: the filter is longer than %d bytes", maxCaptureFilter)
	case d.Flows > 1:
		return source.Settings{}, errors.New("settings: the device's parameter flows is told by one_in_flows")
	}
	device := m.GetDevice()
	if n := m.GetOneInFlows(); n > 1 {
		d.Flows = int(n)
		device = d.String()
		if again, err := rpcap.ParseDevice(device); err != nil || again.Flows != int(n) {
			return source.Settings{}, fmt.Errorf("settings: one_in_flows %d: out of range", n)
		}
	}
	return source.Settings{Device: device, Filter: m.GetFilter()}, nil
}

// toMessage is the inverse of fromMessage.
func toMessage(s source.Settings) *capstanv1.CaptureSettings {
	m := &capstanv1.CaptureSettings{Device: s.Device, Filter: s.Filter, OneInFlows: 1}
	if d, err := rpcap.ParseDevice(s.Device); err == nil && d.Flows > 1 {
		m.OneInFlows = uint32(d.Flows)
		d.Flows = 0
		m.Device = d.String()
	}
	return m
}

// sortedKeys is for texts that shall not change from call to call.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
