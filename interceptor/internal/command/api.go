package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/api"
	"capstan/interceptor/internal/clients"
	"capstan/interceptor/internal/tlsconf"
	"capstan/interceptor/internal/watch"
)

// apiFlags tell how the API is served, and to whom.
type apiFlags struct {
	socket, mode, group string
	address             string
	tls                 tlsconf.Files
	read, admin         subjectFlags
	ring                watch.Config
}

// subjectFlags name some of those who may connect.
type subjectFlags struct{ users, groups, names []string }

func (f *apiFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.socket, "api-socket", autoSocket, "unix socket to serve the API on; auto: "+autoHelp+", if it can be had; empty: none")
	flags.StringVar(&f.mode, "api-socket-mode", "0660", "mode of the socket")
	flags.StringVar(&f.group, "api-socket-group", "", "group of the socket, by name or number")
	flags.StringVar(&f.address, "api-address", "", "HOST:PORT to serve the API on, over TLS, to clients with a certificate")
	flags.StringVar(&f.tls.Certificate, "api-tls-cert", "", "PEM file with the certificate for --api-address; read again for each connection")
	flags.StringVar(&f.tls.Key, "api-tls-key", "", "PEM file with the key of that certificate")
	flags.StringVar(&f.tls.Authorities, "api-tls-client-ca", "", "PEM file of the authorities that clients' certificates must be signed by")
	f.read.register(flags, "read", "watch records and see status and ledger")
	f.admin.register(flags, "admin", "change what is captured, too")
	flags.IntVar(&f.ring.MaxRecords, "watch-records", 10_000, "latest records to keep for watchers")
	flags.IntVar(&f.ring.MaxBytes, "watch-bytes", 64<<20, "bytes of memory that the records kept for watchers may take; at most an eighth of --memory")
	flags.IntVar(&f.ring.IdleRate, "watch-idle-rate", 1000, "records to keep a second while nobody watches, and --watch-records at once if there were fewer before; 0 = none")
	flags.IntVar(&f.ring.MaxWatchers, "watchers", 16, "how many may watch at the same time")
	sizes(flags, "watch-bytes")
	positive(flags, "watch-records", "watch-bytes", "watchers")
	notNegative(flags, "watch-idle-rate")
}

func (f *subjectFlags) register(flags *pflag.FlagSet, role, may string) {
	flags.StringSliceVar(&f.users, "api-"+role+"-user", nil, "users, by name or number, who may "+may)
	flags.StringSliceVar(&f.groups, "api-"+role+"-group", nil, "groups whose members may "+may)
	flags.StringSliceVar(&f.names, "api-"+role+"-name", nil, "names in client certificates that may "+may)
}

// autoSocket stands for defaultSocket.
const (
	autoSocket = "auto"
	autoHelp   = "/run/capstan/interceptor.sock for root, else $XDG_RUNTIME_DIR/capstan/interceptor.sock"
)

// defaultSocket is where the programs of one user find each other; empty if
// there is no place for it.
func defaultSocket() string {
	if os.Geteuid() == 0 {
		return "/run/capstan/interceptor.sock"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "capstan", "interceptor.sock")
	}
	return ""
}

// roles looks users and groups up.
func (f *apiFlags) roles() (api.Roles, error) {
	read, err := f.read.subjects()
	if err != nil {
		return api.Roles{}, err
	}
	admin, err := f.admin.subjects()
	return api.Roles{Read: read, Admin: admin}, err
}

func (f *subjectFlags) subjects() (s api.Subjects, err error) {
	s.Names = f.names
	for _, text := range f.users {
		id, err := lookUp(text, "user", func() (string, error) {
			u, err := user.Lookup(text)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return s, err
		}
		s.UIDs = append(s.UIDs, id)
	}
	for _, text := range f.groups {
		id, err := groupID(text)
		if err != nil {
			return s, err
		}
		s.GIDs = append(s.GIDs, id)
	}
	return s, nil
}

func groupID(text string) (uint32, error) {
	return lookUp(text, "group", func() (string, error) {
		g, err := user.LookupGroup(text)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

// lookUp returns the number that text is, or is the name of.
func lookUp(text, what string, find func() (string, error)) (uint32, error) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return uint32(n), nil
	}
	number, err := find()
	if err != nil {
		return 0, usageError{fmt.Errorf("%s %q: %w", what, text, err)}
	}
	n, err := strconv.ParseUint(number, 10, 32)
	return uint32(n), err
}

// serve serves the API until the function that it returns is called. hub is nil
// if nothing asks for it.
func (f *apiFlags) serve(counts *clients.Counts, backend api.Backend, log *slog.Logger) (hub *watch.Hub, stop func(), err error) {
	if f.socket == "" && f.address == "" {
		return nil, func() {}, nil
	}
	roles, err := f.roles()
	if err != nil {
		return nil, nil, err
	}
	hub = watch.New(f.ringWithin(backend.MemoryLimit))
	server, err := api.New(api.Config{Clients: counts, Hub: hub, Backend: backend, Roles: roles, Version: version(), Log: log})
	if err != nil {
		return nil, nil, cannotStartError{err}
	}
	stop = func() {
		hub.Close()
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		server.Stop(ctx)
	}
	if err := f.listen(server, log); err != nil {
		stop()
		return nil, nil, err
	}
	return hub, stop, nil
}

// ringWithin returns what bounds the records that are kept for watchers: of the cap on all
// memory they have a queue's share at most, or they alone would reach the cap, again and again.
func (f *apiFlags) ringWithin(memory uint64) watch.Config {
	ring := f.ring
	ring.MaxBytes = int(min(uint64(ring.MaxBytes), memory/queueShare))
	return ring
}

// stopLimit is how long watchers have to take what is left.
const stopLimit = 2 * time.Second

func (f *apiFlags) listen(server *api.Server, log *slog.Logger) error {
	socket, auto := f.socket, f.socket == autoSocket
	if auto {
		socket = defaultSocket()
	}
	if socket != "" {
		err := f.listenUnix(server, socket)
		switch {
		case err != nil && (!auto || errors.As(err, &usageError{})):
			return err
		case err != nil: // nobody has asked for it
			log.Warn("no API on the default socket", "socket", socket, "err", err)
		default:
			log.Info("API", "socket", socket)
		}
	}
	if f.address == "" {
		return nil
	}
	if f.tls.Certificate == "" || f.tls.Key == "" || f.tls.Authorities == "" {
		return usageError{errors.New("--api-address needs --api-tls-cert, --api-tls-key and --api-tls-client-ca")}
	}
	if err := f.tls.Check(); err != nil {
		return cannotStartError{err}
	}
	address, err := server.ListenTCP(f.address, f.tls.Server())
	if err != nil {
		return cannotStartError{fmt.Errorf("--api-address: %w", err)}
	}
	log.Info("API", "address", address.String())
	return nil
}

func (f *apiFlags) listenUnix(server *api.Server, socket string) error {
	mode, err := api.SocketMode(f.mode)
	if err != nil {
		return usageError{fmt.Errorf("--api-socket-mode: %w", err)}
	}
	group := -1
	if f.group != "" {
		id, err := groupID(f.group)
		if err != nil {
			return err
		}
		group = int(id)
	}
	if err := os.Mkdir(filepath.Dir(socket), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return cannotStartError{fmt.Errorf("--api-socket: %w", err)}
	}
	if err := server.ListenUnix(socket, mode, group); err != nil {
		return cannotStartError{fmt.Errorf("--api-socket: %w", err)}
	}
	return nil
}
