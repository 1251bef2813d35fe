// Command extcap is Wireshark's plug-in for RPCAP servers: with it in
// Wireshark's extcap folder (see --install) every RPCAP server can be captured
// from, also with a Wireshark or tshark that was built without remote capture.
package main

import (
	"context"
	"os"

	"capstan/interceptor/internal/extcap"
)

func main() { os.Exit(extcap.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
