-- A narrow table as pgbench makes it, and a wide one of many types.
CREATE TABLE accounts (
    aid      integer NOT NULL,
    bid      integer,
    abalance integer,
    filler   character(84)
);
CREATE TABLE orders (
    id         bigint NOT NULL,
    created    timestamptz NOT NULL,
    changed    timestamptz,
    customer   bigint NOT NULL,
    code       text NOT NULL,
    price      numeric(12, 2) NOT NULL,
    quantity   integer NOT NULL,
    weight     double precision,
    paid       boolean NOT NULL,
    token      uuid NOT NULL,
    attributes jsonb,
    note       text
);
