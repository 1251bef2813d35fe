package extcap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"runtime/debug"
	"syscall"

	"capstan/interceptor/internal/remote"
	"capstan/pkg/capture"
)

const interfaceName = "rpcap"

// Run is main without globals. It returns the exit status: 0 done, 1 failed.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process the hard way: a fifo that nobody opens
	// can't be given up.
	defer context.AfterFunc(ctx, stop)()
	if err := run(ctx, args, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "extcap: %v\n", err)
		return 1
	}
	return 0
}

const usage = `extcap captures from RPCAP servers for Wireshark and tshark.

  --install    put it where Wireshark finds it; then the interface "RPCAP server"
               is in Wireshark's list, and in tshark: tshark -i rpcap \
               -o extcap.rpcap.host:HOST -o extcap.rpcap.device:eth0

Without Wireshark, as Wireshark calls it:

  extcap --extcap-interface rpcap --capture --fifo FILE --host HOST --device DEVICE

Options:
`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, flags, err := parse(args, stderr)
	if err != nil {
		return err
	}
	switch {
	case o.help || len(args) == 0:
		fmt.Fprint(stdout, usage, flags.FlagUsages())
		return nil
	case o.version:
		fmt.Fprintln(stdout, "extcap", version())
		return nil
	case o.install:
		return install(ctx, o.installDir, stdout)
	case o.interfaces:
		fmt.Fprintf(stdout, "extcap {version=%s}{display=RPCAP server}\n", version())
		fmt.Fprintf(stdout, "interface {value=%s}{display=RPCAP server}\n", interfaceName)
		return nil
	case o.iface != interfaceName:
		return fmt.Errorf("no interface %q: there is %q", o.iface, interfaceName)
	case o.dlts:
		// Which one it is depends on the device; the capture says it.
		fmt.Fprintln(stdout, "dlt {number=1}{name=EN10MB}{display=Ethernet, or what the device has}")
		return nil
	case o.reload != "":
		return reload(ctx, o, stdout)
	case o.config:
		printFields(stdout, flags)
		return nil
	case o.capture:
		return captureInto(ctx, o, stderr)
	case o.filterGiven:
		// A question that is answered by text on standard output: none is "valid".
		if _, err := remote.Filter(capture.LinkTypeEthernet, o.filter); err != nil {
			fmt.Fprintln(stdout, err)
		}
		return nil
	}
	return errors.New("nothing to do: see --help")
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// reload lists the values of a field that the server knows.
func reload(ctx context.Context, o *options, stdout io.Writer) error {
	arg, ok := fieldNumber(o.reload)
	if !ok || fields[arg].flag != "device" {
		return fmt.Errorf("field %q has no values to load", o.reload)
	}
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	interfaces, err := c.Interfaces(ctx)
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		display := i.Name
		if i.Description != "" {
			display += " (" + i.Description + ")"
		}
		printValue(stdout, arg, i.Name, display, i.Name == o.device)
	}
	return nil
}
