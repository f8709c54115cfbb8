// The service that record.sh calls.
exception Bad {
  1: i32 code,
  2: string why
}

struct Work {
  1: i32 left = 0,
  2: i64 right,
  3: optional string comment
}

service Calculator {
  void ping(),
  i32 add(1: i32 left, 2: i32 right),
  i64 calculate(1: i32 log, 2: Work work) throws (1: Bad bad),
  map<string, list<i32>> echo(1: map<string, list<i32>> values, 2: set<bool> flags, 3: binary bytes, 4: double number),
  oneway void zip()
}
