// A receiver as one would write it in Node: Express checks the signature, BullMQ takes the callback.
import { Queue } from "bullmq";
import express from "express";
import twilio from "twilio";

const { TWILIO_AUTH_TOKEN, PUBLIC_URL, REDIS_PORT, PORT } = process.env;

const callbacks = new Queue("callbacks", {
  connection: { host: "127.0.0.1", port: Number(REDIS_PORT) },
  defaultJobOptions: {
    attempts: 10,
    backoff: { type: "exponential", delay: 1000 },
    removeOnComplete: true,
  },
});

const app = express();
app.disable("x-powered-by");
app.use(express.urlencoded({ extended: false }));

app.post("/status", async (request, response) => {
  const signature = request.get("X-Twilio-Signature") ?? "";
  const url = PUBLIC_URL + request.originalUrl;
  if (!twilio.validateRequest(TWILIO_AUTH_TOKEN, signature, url, request.body)) {
    return response.sendStatus(403);
  }
  await callbacks.add("callback", request.body);
  response.type("text/xml").send("<Response/>");
});

app.listen(Number(PORT), "127.0.0.1");
