// Command interceptor turns captured traffic into records of the exchanges in
// it: live from an RPCAP server, or from capture files.
package main

import (
	"context"
	"os"

	_ "golang.org/x/crypto/x509roots/fallback" // for images without certificates

	"capstan/interceptor/internal/command"
)

func main() { os.Exit(command.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
