-- Connects where the platform tells several accounts, of which the person chooses.

-- The accounts to choose from. None: the browser is still at the platform.
ALTER TABLE flows ADD COLUMN identities JSONB;

-- Accounts that came by a session beside the first, `connected_id`.
ALTER TABLE sessions ADD COLUMN also_connected JSONB NOT NULL DEFAULT '[]';

-- The connect by which several accounts came at once: they stand on one grant at the platform.
ALTER TABLE accounts ADD COLUMN grant_id UUID;
CREATE INDEX accounts_together ON accounts (tenant_id, grant_id) WHERE grant_id IS NOT NULL;
