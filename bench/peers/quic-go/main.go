// Files from memory over quic-go's HTTP/3: a peer of Sterna's benchmarks, not a server to run on a network.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	cert := flag.String("cert", "cert.pem", "certificate chain, PEM")
	key := flag.String("key", "key.pem", "private key, PEM")
	streams := flag.Int64("streams", 128, "requests at once on a connection")
	site := flag.String("site", "site", "directory of the files")
	flag.Parse()
	if err := serve(*listen, *cert, *key, *site, *streams); err != nil {
		fmt.Fprintln(os.Stderr, "quic-go:", err)
		os.Exit(1)
	}
}

func serve(listen, cert, key, site string, streams int64) error {
	files, err := load(site)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	socket, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	server := http3.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, found := files[r.URL.Path]
			if !found {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("content-type", "application/octet-stream")
			w.Header().Set("content-length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		}),
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}}),
		QUICConfig: &quic.Config{
			MaxIncomingStreams: streams,
			MaxIdleTimeout:     5 * time.Minute,
		},
	}
	fmt.Fprintf(os.Stderr, "serving https://%s\nready\n", socket.LocalAddr())
	return server.Serve(socket)
}

// load reads every file directly below the directory.
func load(site string) (map[string][]byte, error) {
	names, err := filepath.Glob(filepath.Join(site, "*"))
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files["/"+filepath.Base(name)] = body
	}
	return files, nil
}
