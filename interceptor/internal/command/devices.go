package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// oneURL insists on one argument.
func oneURL(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("want one URL, such as rpcap://HOST/eth0; there are %d", len(args))}
	}
	return nil
}

func devicesCommand(s streams) *cobra.Command {
	var (
		server serverFlags
		format string
	)
	cmd := &cobra.Command{
		Use:   "devices URL",
		Short: "List the devices of an RPCAP server",
		Long: `devices lists what an RPCAP server offers to capture from, in the server's
order. URL is that of a server, such as rpcap://HOST/; a device in it is ignored.
` + exitHelp,
		Args: oneURL,
		RunE: func(cmd *cobra.Command, args []string) error {
			return devices(cmd.Context(), s.out, &server, format, args[0])
		},
	}
	server.register(cmd.Flags())
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json (one object per line)")
	return cmd
}

func devices(ctx context.Context, out io.Writer, server *serverFlags, format, text string) error {
	print := printDevices
	switch format {
	case "text":
	case "json":
		print = printDevicesJSON
	default:
		return usageError{fmt.Errorf("--output %q is neither text nor json", format)}
	}
	u, err := rpcap.ParseURL(text)
	if err == nil && u.Scheme == rpcap.SchemeLocal { // rpcap://HOST, the slash forgotten
		u, err = rpcap.ParseURL(text + "/")
	}
	if err != nil {
		return usageError{err}
	}
	options, err := server.client(&u)
	if err != nil {
		return err
	}
	client, err := rpcapclient.Dial(ctx, u, options)
	if err != nil {
		return cannotStartError{err}
	}
	defer client.Close()
	interfaces, err := client.Interfaces(ctx)
	if err != nil {
		return cannotStartError{err}
	}
	if err := print(out, interfaces); err != nil {
		return &endedEarlyError{err}
	}
	return nil
}

func printDevices(w io.Writer, interfaces []rpcap.Interface) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tSTATE\tADDRESSES\tDESCRIPTION")
	for _, i := range interfaces {
		var addresses []string
		for _, a := range i.Addresses {
			if a.Addr.IsValid() {
				addresses = append(addresses, a.Addr.String())
			}
		}
		// Names come from the server: what could drive a terminal is quoted.
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", printable(i.Name), strings.Join(deviceState(i.Flags), ","),
			strings.Join(addresses, " "), printable(i.Description))
	}
	return tw.Flush()
}

// printable escapes what isn't printable.
func printable(s string) string {
	quoted := fmt.Sprintf("%+q", s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
}

// deviceState puts an interface's flags into words.
func deviceState(f rpcap.InterfaceFlags) []string {
	state := []string{"down"}
	if f&rpcap.InterfaceUp != 0 {
		state[0] = "up"
	}
	if f&rpcap.InterfaceRunning != 0 {
		state = append(state, "running")
	}
	if f&rpcap.InterfaceLoopback != 0 {
		state = append(state, "loopback")
	}
	if f&rpcap.InterfaceWireless != 0 {
		state = append(state, "wireless")
	}
	if f&rpcap.InterfaceConnection == rpcap.InterfaceDisconnected {
		state = append(state, "disconnected")
	}
	return state
}

func printDevicesJSON(w io.Writer, interfaces []rpcap.Interface) error {
	type address struct {
		Address     string `json:"address"`
		Netmask     string `json:"netmask,omitempty"`
		Broadcast   string `json:"broadcast,omitempty"`
		Destination string `json:"destination,omitempty"`
	}
	type device struct {
		Name        string    `json:"name"`
		Description string    `json:"description"`
		State       []string  `json:"state"`
		Addresses   []address `json:"addresses"`
	}
	enc := json.NewEncoder(w)
	for _, i := range interfaces {
		d := device{Name: i.Name, Description: i.Description, State: deviceState(i.Flags), Addresses: []address{}}
		for _, a := range i.Addresses {
			d.Addresses = append(d.Addresses, address{ipText(a.Addr), ipText(a.Netmask), ipText(a.Broadcast), ipText(a.Destination)})
		}
		if err := enc.Encode(d); err != nil {
			return err
		}
	}
	return nil
}

// ipText is an address's text, "" for none.
func ipText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
