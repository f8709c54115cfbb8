// A MySQL-8-flavoured server (Dolt's go-mysql-server, in memory): root without password, t/t with
// caching_sha2_password, n/n with mysql_native_password, database t; TLS with a fresh self-signed certificate.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"log"
	"math/big"
	"time"

	sqle "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"
	"github.com/dolthub/go-mysql-server/sql"
)

func main() {
	bind := flag.String("bind", "127.0.0.1:3308", "address")
	flag.Parse()
	db := memory.NewDatabase("t")
	db.BaseDatabase.EnablePrimaryKeyIndexes()
	pro := memory.NewDBProvider(db)
	e := sqle.NewDefault(pro)
	ctx := sql.NewContext(context.Background(), sql.WithSession(memory.NewSession(sql.NewBaseSession(), pro)))
	ctx.SetClient(sql.Client{User: "root", Address: "localhost"})
	ctx.SetCurrentDatabase("t")
	my := e.Analyzer.Catalog.MySQLDb
	my.SetEnabled(true)
	my.AddRootAccount()
	my.SetPersister(none{})
	for _, q := range []string{
		"create user t@'%' identified with caching_sha2_password by 't'", "grant all on *.* to t@'%'",
		"create user n@'%' identified with mysql_native_password by 'n'", "grant all on *.* to n@'%'"} {
		_, it, _, err := e.Query(ctx, q)
		if err == nil {
			_, err = sql.RowIterToRows(ctx, it)
		}
		if err != nil {
			log.Fatal(q, ": ", err)
		}
	}
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0), Subject: pkix.Name{CommonName: "mysql8"}, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, &t, &t, &k.PublicKey, k)
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.NewServer(server.Config{Protocol: "tcp", Address: *bind, Version: "8.0.31",
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}}}}, e, sql.NewContext, memory.NewSessionBuilder(pro), nil)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(s.Start())
}

type none struct{}

func (none) Persist(*sql.Context, []byte) error { return nil }
