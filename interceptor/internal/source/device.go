package source

import (
	"context"
	"errors"
	"strings"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// noSuchDevice is part of what servers answer to an unknown name. libpcap's
// knows no parameters, so it takes them for part of the name.
const noSuchDevice = "No such device"

// openDevice opens a device. If the server knows no parameters, it is opened
// without them; then the frames are more than were asked for, but for the
// parameter filter, which the client's filter has to do the work of.
func (s *RPCAP) openDevice(ctx context.Context, client *rpcapclient.Client, device string) (_ capture.LinkType, knows bool, err error) {
	linkType, err := client.Open(ctx, device)
	if err == nil || !unknownName(err) {
		return linkType, true, err
	}
	if s.cfg.NeedParameters {
		return 0, false, err
	}
	d, parseErr := rpcap.ParseDevice(device)
	if parseErr != nil || !d.HasParameters() {
		return 0, false, err
	}
	if linkType, err = client.Open(ctx, d.Name); err != nil {
		return 0, false, err
	}
	s.told.Do(func() {
		s.cfg.Log.Warn("the capture server knows no device parameters: it captures all of the device, only a filter is still applied",
			"source", s.cfg.URL.String(), "device", d.Name)
	})
	return linkType, false, nil
}

// KnowsParameters reports whether the server opens the URL's device with its
// parameters. It waits for the server as Run does at the start, and fails like
// it; a device that isn't there without parameters either is Run's to tell.
func (s *RPCAP) KnowsParameters(ctx context.Context) (known bool, err error) {
	err = s.retry(ctx, s.cfg.StartTimeout, final, func(ctx context.Context) error {
		client, err := s.client(ctx)
		if err != nil {
			return err
		}
		defer s.hangUp(client)
		_, err = client.Open(ctx, s.cfg.URL.Device)
		known = err == nil
		if unknownName(err) {
			return nil
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		return false, &StartError{Source: s.cfg.URL.String(), Err: err}
	}
	return known, ctx.Err()
}

func unknownName(err error) bool {
	var refused *rpcap.RemoteError
	return errors.As(err, &refused) && refused.Code == rpcap.CodeOpen && strings.Contains(refused.Text, noSuchDevice)
}
