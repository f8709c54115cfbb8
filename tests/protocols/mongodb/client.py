#!/usr/bin/env python3
"""What the client of `crud.pcap` asks: client.py PORT. For pymongo."""
import datetime
import sys

import bson
import pymongo
from pymongo.errors import PyMongoError

client = pymongo.MongoClient("127.0.0.1", int(sys.argv[1]), directConnection=True, appname="sniffer", serverSelectionTimeoutMS=5000,
                             maxPoolSize=1, heartbeatFrequencyMS=60000)
db = client.shop


def attempt(what):
    try:
        print(what())
    except PyMongoError as e:
        print("expected:", e)


db.items.insert_one({"_id": 1, "name": "käse <&>", "price": 2.5, "tags": ["a", "b"], "when": datetime.datetime(2024, 2, 29, 12, 0, 0, 120000),
                     "blob": b"\0\x01\xff", "re": bson.Regex("^a", "i"), "big": bson.Int64(2**40), "ts": bson.Timestamp(1700000000, 3),
                     "id": bson.ObjectId("0123456789abcdef01234567"), "none": None, "deep": {"z": {"y": [{"x": True}]}}})
db.items.insert_many([{"_id": i, "n": i, "text": "x" * 200} for i in range(2, 60)])
attempt(lambda: db.items.insert_one({"_id": 1}))
print(db.items.find_one({"_id": 1}))
print(len(list(db.items.find({"n": {"$gt": 5}}, {"text": 0}).sort("n", -1).batch_size(20))))
print(db.items.update_many({"n": {"$lt": 10}}, {"$set": {"cheap": True}}).modified_count)
print(db.items.find_one_and_update({"_id": 2}, {"$inc": {"n": 1}}))
print(list(db.items.aggregate([{"$match": {"cheap": True}}, {"$group": {"_id": None, "n": {"$sum": 1}}}])))
print(db.items.count_documents({}), db.items.distinct("cheap"))
print(db.items.delete_many({"n": {"$gte": 50}}).deleted_count)
attempt(lambda: db.command("noSuchCommand", 1))
db.items.create_index("n")
unacknowledged = db.get_collection("log", write_concern=pymongo.WriteConcern(w=0))
unacknowledged.insert_one({"_id": 1, "line": "nobody answers"})
print(db.log.find_one())
db.items.drop()
client.close()
