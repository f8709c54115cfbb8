// What the captures of MySQL's protocol are recorded from: java -cp JARS Record.java URL SCENE
import java.io.ByteArrayInputStream;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;

class Record {
    static void read(ResultSet rows) throws SQLException {
        while (rows.next())
            for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) rows.getString(i);
    }

    static void all(Statement s, boolean first) throws SQLException {
        for (boolean more = first; ; more = s.getMoreResults()) {
            if (more) read(s.getResultSet());
            else if (s.getUpdateCount() < 0) return;
        }
    }

    static void fails(Statement s, String sql) {
        try {
            s.execute(sql);
        } catch (SQLException expected) {
            return;
        }
        throw new IllegalStateException(sql + " should fail");
    }

    static void text(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("create table if not exists texts (id int primary key, name varchar(40), born date, price decimal(8,2))");
            s.executeUpdate("insert into texts values (1, 'Ada, Countess', '1815-12-10', 1.50), (2, 'say \"x\"', null, -2.25), (3, '', '1999-12-31', 0)");
            read(s.executeQuery("select * from texts order by id"));
            read(s.executeQuery("select id from texts where id > 100"));
            s.executeUpdate("update texts set price = 3 where id < 3");
            fails(s, "select nothing from nowhere");
            read(s.executeQuery("select repeat('0123456789', 200) as long_text, id from texts order by id"));
            s.executeUpdate("delete from texts");
            s.execute("drop table texts");
        }
    }

    static void prepared(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("create table if not exists kinds (a tinyint, b smallint, c int, d bigint, e bigint unsigned, f float, g double,"
                + " h decimal(10,3), i date, j datetime(6), k time, l varchar(400), m blob, n bit(10), o year)");
        }
        try (PreparedStatement p = c.prepareStatement("insert into kinds values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")) {
            for (int round = 0; round < 2; round++) {
                p.setByte(1, (byte) -8);
                p.setShort(2, (short) -300);
                p.setInt(3, -70000);
                p.setLong(4, -5000000000L);
                p.setBigDecimal(5, new java.math.BigDecimal("18446744073709551615"));
                p.setFloat(6, 1.5f);
                p.setDouble(7, -2.25);
                p.setBigDecimal(8, new java.math.BigDecimal("123.456"));
                p.setDate(9, java.sql.Date.valueOf("2017-07-28"));
                p.setTimestamp(10, java.sql.Timestamp.valueOf("2017-07-28 01:02:03.123456"));
                p.setTime(11, java.sql.Time.valueOf("23:59:58"));
                p.setString(12, round == 0 ? "Grüße" : "x".repeat(300));
                p.setBytes(13, new byte[] {1, 2, (byte) 0xff});
                p.setInt(14, 5);
                if (round == 0) p.setInt(15, 1999);
                else p.setNull(15, Types.INTEGER);
                p.executeUpdate();
            }
        }
        try (PreparedStatement p = c.prepareStatement("select * from kinds where c = ? and b < ?")) {
            p.setInt(1, -70000);
            p.setInt(2, 0);
            read(p.executeQuery());
            p.setString(1, "-70000");
            read(p.executeQuery());
        }
        try (PreparedStatement p = c.prepareStatement("update kinds set m = ? where a = ?")) {
            p.setBinaryStream(1, new ByteArrayInputStream("streamed ".repeat(40).getBytes()), 360);
            p.setInt(2, -8);
            p.executeUpdate();
        }
        try (Statement s = c.createStatement()) {
            s.execute("drop table kinds");
        }
    }

    static void batch(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("create table if not exists many (id int primary key, name varchar(20))");
        }
        try (PreparedStatement p = c.prepareStatement("insert into many values (?, ?)")) {
            for (int i = 0; i < 30; i++) {
                p.setInt(1, i);
                p.setString(2, i % 7 == 0 ? null : "row " + i);
                p.addBatch();
            }
            p.executeBatch();
        }
        for (int i = 0; i < 2; i++) {
            try (PreparedStatement p = c.prepareStatement("select id, name from many where id < ?")) {
                p.setInt(1, 15);
                read(p.executeQuery());
                read(p.executeQuery());
            }
        }
        try (PreparedStatement p = c.prepareStatement("select name from many where id < ?")) {
            p.setFetchSize(4);
            p.setInt(1, 10);
            read(p.executeQuery());
        }
        try (Statement s = c.createStatement()) {
            s.execute("drop table many");
        }
    }

    static void several(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("create table if not exists pair (id int)");
            all(s, s.execute("insert into pair values (1), (2); select id from pair; update pair set id = id + 1; select 'b' as b, 7 as c"));
            try {
                all(s, s.execute("select 1 as one; select nothing from nowhere; select 2"));
            } catch (SQLException expected) {
                // the second of them fails
            }
            s.execute("drop procedure if exists both_of_them");
            s.execute("create procedure both_of_them() begin select 1 as x; select 2 as y, 3 as z; end");
            all(s, s.execute("call both_of_them()"));
            s.execute("drop procedure both_of_them");
            s.execute("drop table pair");
        }
        c.isValid(5);
        c.setCatalog("mysql");
        c.setCatalog("t");
    }

    public static void main(String[] args) throws Exception {
        try (Connection c = DriverManager.getConnection(args[0])) {
            for (String scene : args[1].split(","))
                switch (scene) {
                    case "text" -> text(c);
                    case "prepared" -> prepared(c);
                    case "batch" -> batch(c);
                    case "several" -> several(c);
                    default -> throw new IllegalArgumentException(scene);
                }
        }
    }
}
