-- How far `offhook copy` has come is kept where it copies to, which is Postgres. Nothing to do here.
SELECT 1;
