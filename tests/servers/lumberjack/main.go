// A Beats input for the tests of the Logstash output, made of Elastic's own server library. It appends each event to a file as a line of
// JSON, and acknowledges a batch after a delay.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"log"
	"os"
	"time"

	"github.com/elastic/go-lumber/server"
)

func main() {
	bind := flag.String("bind", "127.0.0.1:0", "address")
	out := flag.String("out", "", "file for the events")
	cert := flag.String("cert", "", "certificate; with it the server speaks TLS")
	key := flag.String("key", "", "key of the certificate")
	delay := flag.Duration("delay", 0, "wait before each acknowledgement")
	flag.Parse()

	options := []server.Option{server.V2(true), server.Keepalive(200 * time.Millisecond)}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, server.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
	}
	file, err := os.OpenFile(*out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	listening, err := server.ListenAndServe(*bind, options...)
	if err != nil {
		log.Fatal(err)
	}
	writer := bufio.NewWriter(file)
	encoder := json.NewEncoder(writer)
	for batch := range listening.ReceiveChan() {
		for _, event := range batch.Events {
			if err := encoder.Encode(event); err != nil {
				log.Fatal(err)
			}
		}
		if err := writer.Flush(); err != nil {
			log.Fatal(err)
		}
		time.Sleep(*delay)
		batch.ACK()
	}
}
