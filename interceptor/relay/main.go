// Command relay carries records from the interceptors of a cluster to a
// collector outside. It captures nothing and needs no privilege.
package main

import (
	"context"
	"os"

	_ "golang.org/x/crypto/x509roots/fallback" // for images without certificates

	"capstan/interceptor/internal/relay"
)

func main() { os.Exit(relay.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
