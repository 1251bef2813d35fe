//go:build linux

package device

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

// target is a device resolved to what the kernel knows.
type target struct {
	index    int // 0: all interfaces
	linkType capture.LinkType
}

// resolve finds a device and checks its parameters against it.
func resolve(d rpcap.Device) (target, error) {
	t, err := resolveName(d.Name)
	if err != nil {
		return target{}, err
	}
	bad := func(key, why string) (target, error) {
		return target{}, fmt.Errorf("%q: parameter %q: %s", d.Name, key, why)
	}
	const severalOnly = "only for " + AnyName + ", which has several interfaces"
	switch {
	case t.index != 0 && d.If != "":
		return bad("if", severalOnly)
	case t.index != 0 && d.NotIf != "":
		return bad("not-if", severalOnly)
	case d.LinkType != 0 && t.linkType != capture.LinkTypeLinuxSLL:
		return bad("link", fmt.Sprintf("only where frames have a cooked header, but here their link type is %s", t.linkType))
	case d.LinkType != 0:
		t.linkType = d.LinkType
	}
	return t, nil
}

// resolveName finds the device called name.
func resolveName(name string) (target, error) {
	if name == AnyName {
		return target{linkType: capture.LinkTypeLinuxSLL}, nil
	}
	noDevice := &Error{Device: name, Status: statusNoDevice, Detail: statusNoDevice, Err: unix.ENODEV}
	if name == "" || len(name) >= unix.IFNAMSIZ || strings.ContainsRune(name, 0) {
		return target{}, noDevice
	}
	link, err := netlink.LinkByName(name)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
		return target{}, noDevice
	}
	if err != nil {
		return target{}, &Error{Device: name, Status: "Can't look up the interface", Detail: err.Error(), Err: err}
	}
	attrs := link.Attrs()
	if attrs.Name != name { // found by an alternative name, which libpcap doesn't know
		return target{}, noDevice
	}
	if attrs.RawFlags&unix.IFF_UP == 0 {
		return target{}, &Error{Device: name, Status: statusNotUp, Err: unix.ENETDOWN}
	}
	return target{index: attrs.Index, linkType: linkTypeOf(attrs.EncapType)}, nil
}
